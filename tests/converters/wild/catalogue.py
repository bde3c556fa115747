"""The nets, by name: where each is from, how it is made, what it is fed.

    net = NETS["raft-small"]; module = net.module(); inputs = net.inputs(seed=1)

Nobody changed any of them for a converter. Widths and pictures are small so that a build takes
seconds; depths are whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PAPERS = "tests.converters.wild.nets"
LIBRARIES = "tests.converters.wild.libraries"


@dataclass(frozen=True)
class Input:
    """What is fed: numbers of 0 to 1, or, where there are `words`, integers below it."""

    shape: tuple[int, ...]
    words: int = 0
    values: tuple[float, ...] = ()
    """Numbers to choose from, where not all of 0..1 make sense: labels of clicks."""


@dataclass(frozen=True)
class Net:
    """An architecture: `made` is "module:attribute", `options` what it is called with.

    `source` is the library, or "paper"; `title` its name there.
    """

    source: str
    title: str
    made: str
    taken: tuple[Input, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The library's version; "" of what is written here, and where it is not installed."""
        try:
            return version(self.source) if self.source in DISTRIBUTIONS else ""
        except PackageNotFoundError:
            return ""

    @property
    def is_here(self) -> bool:
        """Whether what it is made of is installed."""
        return self.source == "paper" or self.version != ""

    def module(self) -> torch.nn.Module:
        """The net with random weights and statistics, in eval mode."""
        import torch

        from benchmarks.studies.peers.timm_nets import declare_vision_operators
        from tests.converters.wild.settle import settled

        declare_vision_operators()
        place, _, attribute = self.made.partition(":")
        torch.manual_seed(0)
        made = getattr(import_module(place), attribute)(**self.options)
        return settled(made, [self.inputs(seed) for seed in range(4)])

    def inputs(self, seed: int) -> tuple[torch.Tensor, ...]:
        import torch

        generator = torch.Generator().manual_seed(seed)
        return tuple(_drawn(one, generator) for one in self.taken)


DISTRIBUTIONS = (
    *("torchvision", "timm", "transformers", "segmentation-models-pytorch", "ultralytics"),
)


def _drawn(one: Input, generator: torch.Generator) -> torch.Tensor:
    import torch

    if one.words:
        return torch.randint(one.words, one.shape, generator=generator)
    if one.values:
        chosen = torch.randint(len(one.values), one.shape, generator=generator)
        return torch.tensor(one.values)[chosen]
    return torch.rand(one.shape, generator=generator)


def picture(size: int, channels: int = 3, width: int = 0) -> tuple[Input, ...]:
    return (Input((1, channels, size, width or size)),)


def _torchvision(name: str, size: int, room: str = "", **options: Any) -> Net:
    made = f"{LIBRARIES}:of_torchvision"
    return Net("torchvision", name, made, picture(size), {"name": name, "room": room, **options})


def _timm(name: str, size: int, **options: Any) -> Net:
    return Net("timm", name, f"{LIBRARIES}:of_timm", picture(size), {"name": name, **options})


def _transformers(kind: str, taken: tuple[Input, ...], config: str, **options: Any) -> Net:
    return Net(
        "transformers",
        kind,
        f"{LIBRARIES}:of_transformers",
        taken,
        {"kind": kind, "config": config, **options},
    )


def _smp(kind: str, encoder: str, size: int = 64) -> Net:
    return Net(
        "segmentation-models-pytorch",
        f"{kind}, {encoder}",
        f"{LIBRARIES}:of_smp",
        picture(size),
        {"kind": kind, "encoder": encoder},
    )


def _ultralytics(name: str, size: int = 96) -> Net:
    return Net("ultralytics", name, f"{LIBRARIES}:of_ultralytics", picture(size), {"name": name})


def _paper(title: str, made: str, taken: tuple[Input, ...], **options: Any) -> Net:
    return Net("paper", title, f"{PAPERS}.{made}", taken, options)


BERT = {"num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4}
TINY_VIT = {**BERT, "num_hidden_layers": 12, "intermediate_size": 128}

NETS = {
    "mobilenet-v3-small": _torchvision("mobilenet_v3_small", 64),
    "mnasnet": _torchvision("mnasnet0_5", 64),
    "googlenet": _torchvision("googlenet", 64),
    "regnet-y": _torchvision("regnet_y_400mf", 64),
    "convnext-tiny": _torchvision("convnext_tiny", 64),
    "swin-v2": _torchvision("swin_v2_t", 64),
    "lraspp": _torchvision("lraspp_mobilenet_v3_large", 96, "segmentation"),
    "deeplab-v3": _torchvision("deeplabv3_mobilenet_v3_large", 96, "segmentation"),
    "fcn": _torchvision("fcn_resnet50", 64, "segmentation"),
    "raft-small": Net(
        "torchvision",
        "raft_small",
        f"{LIBRARIES}:of_torchvision",
        picture(128) * 2,
        {"name": "raft_small", "room": "optical_flow"},
    ),
    "ghostnet-v2": _timm("ghostnetv2_100", 64),
    "efficientvit": _timm("efficientvit_b0", 64),
    "xcit": _timm("xcit_nano_12_p16_224", 64),
    "cait": _timm("cait_xxs24_224", 64, img_size=64),
    "pvt-v2": _timm("pvt_v2_b0", 64),
    "levit": _timm("levit_128s", 224),
    "eva-02": _timm("eva02_tiny_patch14_224", 56, img_size=56),
    "gcvit": _timm("gcvit_xxtiny", 224),
    "nfnet": _timm("eca_nfnet_l0", 64),
    "volo": _timm("volo_d1_224", 64, img_size=64),
    "mlp-mixer": _timm("mixer_s32_224", 224),
    "inception-next": _timm("inception_next_atto", 64),
    "segformer": _transformers("SegformerForSemanticSegmentation", picture(128), "SegformerConfig"),
    "detr": _transformers(
        "DetrForObjectDetection",
        picture(96),
        "DetrConfig",
        timm_backbone="resnet18",
        d_model=64,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        num_queries=20,
    ),
    "depth-anything": _transformers(
        "DepthAnythingForDepthEstimation",
        picture(70),
        "DepthAnythingConfig",
        backbone={
            "kind": "Dinov2Config",
            **TINY_VIT,
            "patch_size": 14,
            "image_size": 140,
            "out_features": ["stage3", "stage6", "stage9", "stage12"],
            "reshape_hidden_states": False,
        },
        patch_size=14,
        reassemble_hidden_size=64,
        neck_hidden_sizes=[16, 24, 32, 48],
        fusion_hidden_size=16,
        head_hidden_size=8,
        depth_estimation_type="metric",
        max_depth=20,
    ),
    "mobilevit-deeplab": _transformers(
        "MobileViTForSemanticSegmentation",
        picture(128),
        "MobileViTConfig",
        hidden_sizes=[32, 40, 48],
        neck_hidden_sizes=[8, 16, 24, 32, 40, 48, 96],
        aspp_out_channels=32,
    ),
    "dinov2": _transformers(
        "Dinov2Model", picture(70), "Dinov2Config", **TINY_VIT, image_size=140, patch_size=14
    ),
    "clip-vision": _transformers(
        "CLIPVisionModel", picture(64), "CLIPVisionConfig", **TINY_VIT, image_size=64, patch_size=16
    ),
    "yolos": _transformers(
        "YolosForObjectDetection",
        picture(96),
        "YolosConfig",
        **TINY_VIT,
        image_size=[64, 64],
        num_detection_tokens=20,
    ),
    "swin2sr": _transformers(
        "Swin2SRForImageSuperResolution",
        picture(32),
        "Swin2SRConfig",
        image_size=32,
        embed_dim=24,
        depths=[2, 2, 2],
        num_heads=[2, 2, 2],
        window_size=8,
    ),
    "rt-detr": _transformers(
        "RTDetrForObjectDetection",
        picture(96),
        "RTDetrConfig",
        backbone={
            "kind": "RTDetrResNetConfig",
            "depths": [2, 2, 2, 2],
            "hidden_sizes": [16, 32, 48, 64],
            "embedding_size": 16,
            "layer_type": "basic",
            "out_features": ["stage2", "stage3", "stage4"],
        },
        encoder_in_channels=[32, 48, 64],
        encoder_hidden_dim=32,
        encoder_ffn_dim=64,
        d_model=32,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=64,
        decoder_attention_heads=4,
        encoder_attention_heads=4,
        num_queries=20,
        num_denoising=0,
    ),
    "bert": _transformers(
        "BertModel", (Input((1, 24), words=200),), "BertConfig", **BERT, vocab_size=200
    ),
    "unet-mobilenet": _smp("Unet", "mobilenet_v2"),
    "unet-plus-plus": _smp("UnetPlusPlus", "resnet18"),
    "fpn": _smp("FPN", "resnet18"),
    "pspnet": _smp("PSPNet", "resnet18", 96),
    "manet": _smp("MAnet", "resnet18"),
    "yolov8n": _ultralytics("yolov8n.yaml"),
    "yolo11n-seg": _ultralytics("yolo11n-seg.yaml"),
    "yolo11n-pose": _ultralytics("yolo11n-pose.yaml"),
    "rvm": _paper(
        "RVM, MobileNetV3, deep guided filter",
        "rvm:RVM",
        (
            Input((1, 3, 128, 128)),
            Input((1, 8, 32, 32)),
            Input((1, 16, 16, 16)),
            Input((1, 20, 8, 8)),
            Input((1, 32, 4, 4)),
        ),
    ),
    "modnet": _paper("MODNet", "modnet:MODNet", picture(64)),
    "lama": _paper("LaMa, FFC", "lama:LaMa", picture(64, 4)),
    "nafnet": _paper("NAFNet", "nafnet:NAFNet", picture(72, width=88)),
    "crnn": _paper("CRNN", "crnn:CRNN", picture(32, 1, 100)),
    "lstm-tagger": _paper("LSTM", "crnn:Tagger", (Input((1, 50, 40)),)),
    "gru-keywords": _paper("GRU", "crnn:KeywordSpotter", picture(40, 1, 61)),
    "rife": _paper("RIFE", "rife:RIFE", picture(64) * 2),
    "sam-decoder": _paper(
        "SAM, prompts and mask decoder",
        "sam:SAMDecoder",
        (
            Input((1, 64, 16, 16)),
            Input((1, 3, 2)),
            Input((1, 3), values=(-1.0, 0.0, 1.0)),
        ),
    ),
    "bisenet-v2": _paper("BiSeNetV2", "bisenet:BiSeNetV2", picture(128)),
    "hrnet": _paper("HRNet", "hrnet:HRNet", picture(64)),
    "rtmpose": _paper("RTMPose, SimCC", "rtmpose:RTMPose", picture(96, width=64)),
    "srvgg": _paper("Real-ESRGAN, SRVGGNetCompact", "pixels:SRVGGNetCompact", picture(32)),
    "style": _paper("Fast style transfer", "pixels:StyleNet", picture(64)),
    "diffusion-unet": _paper(
        "Diffusion, U-Net", "pixels:DiffusionUNet", (Input((1, 3, 32, 32)), Input((1,)))
    ),
    "nn-transformer": _paper(
        "ViT of nn.TransformerEncoder", "transformers_of_torch:PlainViT", picture(64)
    ),
    "detr-of-torch": _paper("DETR of nn.Transformer", "transformers_of_torch:DETR", picture(96)),
    "u2net": _paper("U2-Net, small", "saliency:U2NetP", picture(70)),
    "superpoint": _paper(
        "SuperPoint", "superpoint:SuperPoint", (*picture(64, 1), Input((1, 12, 2)))
    ),
    "conv-gru": _paper(
        "ConvGRU",
        "video:ConvGRUNet",
        (Input((1, 3, 64, 64)), Input((1, 16, 16, 16)), Input((1, 32, 8, 8))),
    ),
}
