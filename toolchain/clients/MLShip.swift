// Loads an iOS bundle that mlship built, and takes pixels to pixels as its manifest declares.
// NOT COMPILED ON A MAC YET: written against Apple's documentation (Core ML, iOS 16 and later).
//
//   let model = try await MLShip(bundle: folder)     // the folder with manifest.json
//   let result = try model.run(["image": .picture(picture)])
//   let shown = try model.picture("depth", result)   // of the source's size
//
// A model with state (`state` in the manifest) remembers: call run() for each frame, reset() before
// the first of another video. One at a time: a model is not to be run on two threads.
//
// The compute units are those of `mlship build --compute`. Tensors are in PyTorch's layout,
// (1, C, H, W). Resizing is written to be bit for bit what Python's Pillow computes, step by
// step as in mlship.mjs, which is tested against it.

import CoreML
import CryptoKit
import Foundation

/// RGBA bytes, row by row.
public struct Picture {
    public let width: Int
    public let height: Int
    public let rgba: [UInt8]

    public init(width: Int, height: Int, rgba: [UInt8]) {
        self.width = width
        self.height = height
        self.rgba = rgba
    }
}

public struct Tensor {
    public let shape: [Int]
    public let data: [Float]

    public init(shape: [Int], data: [Float]) {
        self.shape = shape
        self.data = data
    }
}

public enum Input {
    case picture(Picture)
    case tensor(Tensor)
}

public struct MLShipError: LocalizedError {
    public let errorDescription: String?

    init(_ what: String) {
        errorDescription = what
    }
}

// MARK: - The manifest

public struct Manifest: Decodable {
    public struct Preprocess: Decodable {
        let resize, filter, colour: String
        let mean, std: [Float]
        let pad: UInt8
    }

    public struct Postprocess: Decodable {
        let low, high: Float?
        let filter, colour: String
    }

    public struct Spec: Decodable {
        public let name: String
        public var shape: [Int]
        let preprocess: Preprocess?
        let postprocess: Postprocess?
        let sizes: [[Int]]
    }

    struct Port: Decodable {
        let name: String
        let storedAs: String
        let axes: [Int]
        let shape: [Int]
        let dtype: String

        /// In PyTorch's layout.
        var logicalShape: [Int] { axes.indices.map { shape[axes.firstIndex(of: $0)!] } }

        enum CodingKeys: String, CodingKey {
            case name, axes, shape, dtype
            case storedAs = "stored_as"
        }
    }

    struct Entry: Decodable {
        let name, storedAs: String
        let inputs, outputs: [Port]

        enum CodingKeys: String, CodingKey {
            case name, inputs, outputs
            case storedAs = "stored_as"
        }
    }

    struct Artifact: Decodable {
        let path: String
        var inputs, outputs: [Port]
        let entries: [Entry]
        var entry: String
    }

    struct File: Decodable {
        let sha256: String
    }

    public var inputs, outputs: [Spec]
    let files: [String: File]
    /// Which input is which output of the last call.
    let state: [String: String]?
    var artifact: Artifact
    let compute: String

    /// What the bundle's sizes are called, the default first; none where it has one.
    public var sizes: [String] {
        let sized = inputs.first { !$0.sizes.isEmpty }
        return sized?.sizes.map { $0.map(String.init).joined(separator: "x") } ?? []
    }

    /// The manifest as if that size were the only one.
    func at(_ size: String) throws -> Manifest {
        if size == sizes.first { return self }
        guard let found = artifact.entries.first(where: { $0.name == size }) else {
            throw MLShipError("there is no size \(size), but \(sizes.joined(separator: ", "))")
        }
        var seen = self
        seen.artifact.entry = found.storedAs
        seen.artifact.inputs = found.inputs
        seen.artifact.outputs = found.outputs
        seen.inputs = shaped(inputs, found.inputs)
        seen.outputs = shaped(outputs, found.outputs)
        return seen
    }
}

func shaped(_ specs: [Manifest.Spec], _ ports: [Manifest.Port]) -> [Manifest.Spec] {
    specs.map { spec in
        var made = spec
        made.shape = ports.first { $0.name == spec.name }?.logicalShape ?? spec.shape
        return made
    }
}

/// Throws unless each file of the package is the one that the manifest lists, by its SHA-256.
func checkFiles(of manifest: Manifest, in bundle: URL) throws {
    let package = manifest.artifact.path
    for (name, file) in manifest.files where name == package || name.hasPrefix("\(package)/") {
        let data = try Data(contentsOf: bundle.appendingPathComponent(name), options: .mappedIfSafe)
        let digest = SHA256.hash(data: data).map { String(format: "%02x", $0) }.joined()
        guard digest == file.sha256 else {
            throw MLShipError("\(name) is not the file of the manifest")
        }
    }
}

func computeUnits(_ name: String) throws -> MLComputeUnits {
    switch name {
    case "all": return .all
    case "cpu_only": return .cpuOnly
    case "cpu_and_gpu": return .cpuAndGPU
    case "cpu_and_ne": return .cpuAndNeuralEngine
    default: throw MLShipError("unknown compute units '\(name)'")
    }
}

// MARK: - Resizing, as Pillow does it

struct Filter {
    let support: Double
    let weight: (Double) -> Double

    static func named(_ name: String) throws -> Filter {
        switch name {
        case "bilinear": return Filter(support: 1) { max(0, 1 - abs($0)) }
        case "area": return Filter(support: 0.5) { $0 > -0.5 && $0 <= 0.5 ? 1 : 0 }
        case "bicubic":
            return Filter(support: 2) {
                let a = -0.5, t = abs($0)
                if t < 1 { return ((a + 2) * t - (a + 3)) * t * t + 1 }
                return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0
            }
        default: throw MLShipError("unknown filter '\(name)'")
        }
    }
}

/// For each output position the first input position and the weights from there on.
func taps(_ from: Int, _ to: Int, _ filter: Filter) -> [(first: Int, weights: [Double])] {
    let scale = Double(from) / Double(to)
    let stretch = max(scale, 1)
    let reach = filter.support * stretch
    return (0..<to).map { i in
        let centre = (Double(i) + 0.5) * scale
        let first = max(0, Int(centre - reach + 0.5))
        let last = min(from, Int(centre + reach + 0.5))
        let weights = (first..<last).map { filter.weight((Double($0) - centre + 0.5) * (1 / stretch)) }
        let sum = weights.reduce(0, +)
        return (first, sum == 0 ? weights : weights.map { $0 / sum })
    }
}

/// A number that planes are made of: bytes are summed in fixed point, floats are not.
protocol Sample {
    static var zero: Self { get }
    static func weighted(_ values: [Self], _ weights: [Double]) -> Self
}

extension UInt8: Sample {
    static func weighted(_ values: [UInt8], _ weights: [Double]) -> UInt8 {
        var sum = 1 << 21
        for (value, weight) in zip(values, weights) {
            let scaled = weight * 4_194_304
            sum += Int(value) * Int(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
        }
        return UInt8(min(max(sum >> 22, 0), 255))
    }
}

extension Float: Sample {
    static func weighted(_ values: [Float], _ weights: [Double]) -> Float {
        Float(zip(values, weights).reduce(0.0) { $0 + Double($1.0) * $1.1 })
    }
}

struct Plane<Value: Sample> {
    let width: Int
    let height: Int
    var data: [Value]

    init(_ width: Int, _ height: Int, filledWith value: Value = .zero) {
        self.init(width, height, [Value](repeating: value, count: width * height))
    }

    init(_ width: Int, _ height: Int, _ data: [Value]) {
        self.width = width
        self.height = height
        self.data = data
    }

    func cut(_ box: Box) -> Plane {
        var part = Plane(box.width, box.height)
        for y in 0..<box.height {
            for x in 0..<box.width {
                part.data[y * box.width + x] = data[(box.top + y) * width + box.left + x]
            }
        }
        return part
    }

    mutating func paste(_ part: Plane, at box: Box) {
        for y in 0..<box.height {
            for x in 0..<box.width {
                data[(box.top + y) * width + box.left + x] = part.data[y * box.width + x]
            }
        }
    }

    /// Along the rows first, then along the columns.
    func resized(_ toWidth: Int, _ toHeight: Int, _ name: String) throws -> Plane {
        if toWidth == width && toHeight == height { return self }
        if name == "nearest" { return nearest(toWidth, toHeight) }
        let filter = try Filter.named(name)
        let across = toWidth == width ? self : acrossRows(toWidth, filter)
        return toHeight == height ? across : across.downColumns(toHeight, filter)
    }

    private func acrossRows(_ to: Int, _ filter: Filter) -> Plane {
        var result = Plane(to, height)
        for (i, tap) in taps(width, to, filter).enumerated() {
            for y in 0..<height {
                let start = y * width + tap.first
                let values = Array(data[start..<start + tap.weights.count])
                result.data[y * to + i] = Value.weighted(values, tap.weights)
            }
        }
        return result
    }

    private func downColumns(_ to: Int, _ filter: Filter) -> Plane {
        var result = Plane(width, to)
        for (i, tap) in taps(height, to, filter).enumerated() {
            for x in 0..<width {
                let values = tap.weights.indices.map { data[(tap.first + $0) * width + x] }
                result.data[i * width + x] = Value.weighted(values, tap.weights)
            }
        }
        return result
    }

    private func nearest(_ toWidth: Int, _ toHeight: Int) -> Plane {
        var result = Plane(toWidth, toHeight)
        let columns = positions(width, toWidth)
        for (j, y) in positions(height, toHeight).enumerated() {
            for (i, x) in columns.enumerated() {
                result.data[j * toWidth + i] = data[y * width + x]
            }
        }
        return result
    }
}

/// The positions that Pillow reads, which it finds by adding up.
func positions(_ from: Int, _ to: Int) -> [Int] {
    let step = Double(from) / Double(to)
    var at = step * 0.5
    return (0..<to).map { _ in
        defer { at += step }
        return Int(at)
    }
}

// MARK: - Where a picture lies in a plane

struct Box {
    let left, top, right, bottom: Int
    var width: Int { right - left }
    var height: Int { bottom - top }
}

/// The part `source` of a picture fills the part `target` of a plane.
public struct Placement {
    let size, plane: (width: Int, height: Int)
    let source, target: Box
}

/// Python rounds halves to the even neighbour.
func halfEven(_ x: Double) -> Int {
    Int(x.rounded(.toNearestOrEven))
}

func place(_ width: Int, _ height: Int, _ toWidth: Int, _ toHeight: Int, _ resize: String) throws
    -> Placement
{
    let size = (width: width, height: height), plane = (width: toWidth, height: toHeight)
    let all = Box(left: 0, top: 0, right: width, bottom: height)
    let whole = Box(left: 0, top: 0, right: toWidth, bottom: toHeight)
    let ratios = (Double(toWidth) / Double(width), Double(toHeight) / Double(height))
    switch resize {
    case "stretch":
        return Placement(size: size, plane: plane, source: all, target: whole)
    case "crop":
        let scale = max(ratios.0, ratios.1)
        let w = min(width, max(1, halfEven(Double(toWidth) / scale)))
        let h = min(height, max(1, halfEven(Double(toHeight) / scale)))
        let box = centred(w, h, width, height)
        return Placement(size: size, plane: plane, source: box, target: whole)
    case "letterbox":
        let scale = min(ratios.0, ratios.1)
        let w = max(1, halfEven(Double(width) * scale)), h = max(1, halfEven(Double(height) * scale))
        let box = centred(w, h, toWidth, toHeight)
        return Placement(size: size, plane: plane, source: all, target: box)
    default:
        throw MLShipError("unknown resize rule '\(resize)'")
    }
}

func centred(_ w: Int, _ h: Int, _ width: Int, _ height: Int) -> Box {
    let left = (width - w) / 2, top = (height - h) / 2
    return Box(left: left, top: top, right: left + w, bottom: top + h)
}

// MARK: - Pixels to tensors and back

/// The three planes of a picture, transparency laid over white, as Pillow blends it.
func planes(_ picture: Picture) throws -> [Plane<UInt8>] {
    let count = picture.width * picture.height
    guard picture.rgba.count == count * 4 else {
        throw MLShipError("a picture of \(picture.width) x \(picture.height) has \(count * 4) bytes")
    }
    return (0..<3).map { channel in
        let data = (0..<count).map { i in
            over(Int(picture.rgba[4 * i + channel]), Int(picture.rgba[4 * i + 3]))
        }
        return Plane(picture.width, picture.height, data)
    }
}

/// Pillow's alpha_composite over opaque white, in its own fixed point.
func over(_ value: Int, _ alpha: Int) -> UInt8 {
    if alpha == 255 { return UInt8(value) }
    let blend = 255 * (255 - alpha)
    let share = alpha * 255 * 255 * 128 / (alpha * 255 + blend)
    let rounded = value * share + 255 * (255 * 128 - share) + (0x80 << 7)
    return UInt8(((rounded >> 8) + rounded) >> 8 >> 7)
}

func grey(_ rgb: [Plane<UInt8>]) -> Plane<UInt8> {
    let data = rgb[0].data.indices.map { i -> UInt8 in
        let (r, g, b) = (Int(rgb[0].data[i]), Int(rgb[1].data[i]), Int(rgb[2].data[i]))
        return UInt8((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16)
    }
    return Plane(rgb[0].width, rgb[0].height, data)
}

/// The tensor of a picture, by the pre-processing that its specification declares.
public func toTensor(_ picture: Picture, _ spec: Manifest.Spec) throws -> (Tensor, Placement) {
    guard let rule = spec.preprocess else {
        throw MLShipError("'\(spec.name)' takes no picture: pass a tensor")
    }
    let (height, width) = (spec.shape[2], spec.shape[3])
    let placement = try place(picture.width, picture.height, width, height, rule.resize)
    let filled = try planes(picture).map { plane -> Plane<UInt8> in
        let part = plane.cut(placement.source)
        var whole = Plane<UInt8>(width, height, filledWith: rule.pad)
        let target = placement.target
        whole.paste(try part.resized(target.width, target.height, rule.filter), at: target)
        return whole
    }
    let ordered: [Plane<UInt8>]
    switch rule.colour {
    case "RGB": ordered = filled
    case "BGR": ordered = filled.reversed()
    case "GRAY": ordered = [grey(filled)]
    default: throw MLShipError("unknown colour order '\(rule.colour)'")
    }
    let data = ordered.enumerated().flatMap { c, plane in
        plane.data.map { (Float($0) - rule.mean[c]) / rule.std[c] }
    }
    return (Tensor(shape: spec.shape, data: data), placement)
}

/// An output as a picture over its source, by the post-processing that its specification declares.
func toPicture(_ tensor: Tensor, _ rule: Manifest.Postprocess, _ placement: Placement) throws
    -> Picture
{
    let (channels, height, width) = (tensor.shape[1], tensor.shape[2], tensor.shape[3])
    let (sx, sy) = (
        Double(width) / Double(placement.plane.width),
        Double(height) / Double(placement.plane.height)
    )
    let target = placement.target
    let (x, y) = (halfEven(Double(target.left) * sx), halfEven(Double(target.top) * sy))
    let inner = Box(
        left: x, top: y,
        right: max(x + 1, halfEven(Double(target.right) * sx)),
        bottom: max(y + 1, halfEven(Double(target.bottom) * sy))
    )
    let shown = try (0..<channels).map { c -> [Float] in
        let data = Array(tensor.data[c * width * height..<(c + 1) * width * height])
        let part = Plane<Float>(width, height, data).cut(inner)
        var whole = Plane<Float>(placement.size.width, placement.size.height)
        let source = placement.source
        whole.paste(try part.resized(source.width, source.height, rule.filter), at: source)
        return whole.data
    }
    return Picture(
        width: placement.size.width, height: placement.size.height, rgba: try bytes(shown, rule)
    )
}

func bytes(_ shown: [[Float]], _ rule: Manifest.Postprocess) throws -> [UInt8] {
    let low = rule.low ?? shown.joined().min() ?? 0
    let high = rule.high ?? shown.joined().max() ?? 1
    let span = high > low ? high - low : 1
    guard let order = ["RGB": [0, 1, 2], "BGR": [2, 1, 0], "GRAY": [0, 0, 0]][rule.colour] else {
        throw MLShipError("unknown colour order '\(rule.colour)'")
    }
    var result = [UInt8](repeating: 255, count: shown[0].count * 4)
    for (c, from) in order.enumerated() {
        for (i, value) in shown[from].enumerated() {
            let share = min(max((value - low) / span, 0), 1)
            result[4 * i + c] = UInt8((share * 255).rounded(.toNearestOrEven))
        }
    }
    return result
}

/// A logical tensor in the order of the file's axes.
func transposed(_ tensor: Tensor, _ axes: [Int]) -> Tensor {
    if axes == Array(axes.indices) { return tensor }
    var strides = [Int](repeating: 1, count: tensor.shape.count)
    for i in tensor.shape.indices.dropLast().reversed() {
        strides[i] = strides[i + 1] * tensor.shape[i + 1]
    }
    let shape = axes.map { tensor.shape[$0] }
    let steps = axes.map { strides[$0] }
    let data = tensor.data.indices.map { flat -> Float in
        var rest = flat, at = 0
        for k in shape.indices.reversed() {
            at += rest % shape[k] * steps[k]
            rest /= shape[k]
        }
        return tensor.data[at]
    }
    return Tensor(shape: shape, data: data)
}

// MARK: - The model

public final class MLShip {
    public struct Result {
        public let outputs: [String: Tensor]
        public let placement: Placement?
    }

    public let manifest: Manifest
    public let model: MLModel
    /// What the last call left for the next, by the input that it becomes.
    private var held: [String: Tensor] = [:]

    /// Compiles and loads the bundle's package with the compute units that its manifest names.
    /// `size` is one of the bundle's, "512x384" (height x width), nil the default; a bundle of
    /// several sizes needs iOS 18, where each is a function of the package.
    public init(bundle: URL, size: String? = nil) async throws {
        let data = try Data(contentsOf: bundle.appendingPathComponent("manifest.json"))
        let read = try JSONDecoder().decode(Manifest.self, from: data)
        manifest = try size.map { try read.at($0) } ?? read
        let configuration = MLModelConfiguration()
        configuration.computeUnits = try computeUnits(manifest.compute)
        if !manifest.artifact.entry.isEmpty {
            guard #available(iOS 18.0, macOS 15.0, *) else {
                throw MLShipError("sizes beside the default need iOS 18")
            }
            configuration.functionName = manifest.artifact.entry
        }
        try checkFiles(of: manifest, in: bundle)
        let package = bundle.appendingPathComponent(manifest.artifact.path)
        let compiled = try await MLModel.compileModel(at: package)
        model = try MLModel(contentsOf: compiled, configuration: configuration)
    }

    /// Inputs by name: pictures for those that declare pre-processing, else tensors. Those that the
    /// manifest calls state may be left out: they are what the last call put out, and zeros at first.
    public func run(_ inputs: [String: Input]) throws -> Result {
        var placement: Placement?
        var features: [String: MLFeatureValue] = [:]
        for spec in manifest.inputs {
            guard let given = inputs[spec.name] ?? remembered(spec),
                let port = manifest.artifact.inputs.first(where: { $0.name == spec.name })
            else { throw MLShipError("input '\(spec.name)' is missing") }
            let logical: Tensor
            switch given {
            case .tensor(let tensor):
                logical = tensor
            case .picture(let picture):
                let (tensor, lies) = try toTensor(picture, spec)
                placement = placement ?? lies
                logical = tensor
            }
            guard logical.shape == spec.shape else {
                throw MLShipError("input '\(spec.name)' has shape \(logical.shape), not \(spec.shape)")
            }
            let stored = transposed(logical, port.axes)
            let array =
                port.dtype == "int32"
                ? MLMultiArray(MLShapedArray<Int32>(scalars: stored.data.map { Int32($0) }, shape: stored.shape))
                : MLMultiArray(MLShapedArray<Float>(scalars: stored.data, shape: stored.shape))
            features[port.storedAs] = MLFeatureValue(multiArray: array)
        }
        let provider = try MLDictionaryFeatureProvider(dictionary: features)
        let results = try model.prediction(from: provider)
        var outputs: [String: Tensor] = [:]
        for port in manifest.artifact.outputs {
            guard let array = results.featureValue(for: port.storedAs)?.multiArrayValue else {
                throw MLShipError("output '\(port.name)' is missing")
            }
            let shaped = MLShapedArray<Float>(converting: array)
            let back = port.axes.indices.map { port.axes.firstIndex(of: $0)! }
            outputs[port.name] = transposed(Tensor(shape: shaped.shape, data: shaped.scalars), back)
        }
        for (input, output) in manifest.state ?? [:] {
            held[input] = outputs[output]
        }
        return Result(outputs: outputs, placement: placement)
    }

    /// The next call is the first again: its state is zeros.
    public func reset() {
        held = [:]
    }

    private func remembered(_ spec: Manifest.Spec) -> Input? {
        guard let state = manifest.state, state[spec.name] != nil else { return nil }
        let count = spec.shape.reduce(1, *)
        let zeros = Tensor(shape: spec.shape, data: [Float](repeating: 0, count: count))
        return .tensor(held[spec.name] ?? zeros)
    }

    /// An output of `run` as a picture of the source's size.
    public func picture(_ name: String, _ result: Result) throws -> Picture {
        guard let rule = manifest.outputs.first(where: { $0.name == name })?.postprocess,
            let tensor = result.outputs[name], let placement = result.placement
        else { throw MLShipError("output '\(name)' is no picture") }
        return try toPicture(tensor, rule, placement)
    }
}
