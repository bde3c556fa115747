"""Protocol buffer readers of Core ML's model format, copied unchanged from coremltools 9.0.

Generated code under Apple's BSD-3-Clause licence: see LICENSE in this folder. They need only
`protobuf`. Equal to the originals byte for byte, they register the same descriptors, so that
both can be imported in one process.
"""
