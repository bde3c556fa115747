"""What cards say that no file knows: what the data is, what was seen, what a net cannot do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """`seen` is what somebody saw who looked at the contact sheet."""

    about: str
    data: str
    loss: str
    seen: str
    limits: tuple[str, ...]


SCENES = (
    "1400 portraits and 1400 still lifes drawn by `model_defs/scenes` (figures of balls and"
    " cylinders in a room, 256 pixels), cut, mirrored, lit and textured anew each time, with the"
    " textures in `toolchain/data/photos/textures`."
)
CLICKED = (
    f"{SCENES} Clicks are simulated by Xu 2016's three strategies; in the last {{}} trainings half"
    " of the time the first is in the middle, and up to 6 more answer what the net has wrong"
    " (Mahadevan 2018)."
)
FEW = "It was trained for minutes on one CPU core: longer training would improve it."
DRAWN = (
    "It saw drawn figures and things, no real ones. The photographs of the evaluation are few"
    " (their number is in the table): they show that it says something about photographs, not how"
    " often it is right."
)

NOTES: dict[str, Note] = {
    "select": Note(
        "The object that was clicked on, with its borders.",
        CLICKED.format("seven"),
        "logistic, per pixel; in the last two also a quarter of the soft IoU's (Rahman 2016).",
        "After up to 5 clicks (green: of the object, red: not) the right thing is selected at the"
        " right place, with borders that fray; thin and half-hidden things are lost. The astronaut"
        " and the cameraman stand out nearly whole, with a bit of the rocket and of the camera's"
        " stand, the cup with a part of its saucer; the cat bleeds into its background.",
        (
            "It takes about half as many clicks to 85 % on drawn scenes as discs around the clicks"
            " do: it finds things from few, but finishes their borders slowly.",
            "Several clicks that say yes may select too much.",
            DRAWN,
            FEW,
        ),
    ),
    "select-coarse": Note(
        "The object that was clicked on, without fine borders: the first stage of `select`.",
        CLICKED.format("four"),
        "logistic, per pixel.",
        "The right thing at the right place, as a soft blob with dents where red clicks are; people"
        " in photographs nearly whole, the cup without its handle.",
        ("Its borders are those of a map of 32 x 32.", DRAWN, FEW),
    ),
    "portrait": Note(
        "The person in a portrait.",
        SCENES + " 85 % portraits.",
        "cross-entropy, 0.1 focal for edges, 2 KL between two lights (Zhang 2019).",
        "Heads and shoulders of figures are found, with frayed borders and leaks beside the arms."
        " In the photographs head and trunk are found in patches, with false ones on the flag and"
        " the rocket: good for a rough blur, not for a cutout.",
        (DRAWN, FEW),
    ),
    "portrait-video": Note(
        "The person in a frame of a video, given the mask of the frame before.",
        SCENES + " The mask before is the true one, moved and scaled; in 30 % there is none.",
        "that of `portrait`.",
        "As `portrait`: figures with frayed borders, people in patches, with false ones.",
        (
            DRAWN,
            "No video was used: the frame before is simulated. The evaluation shows it the same"
            " picture twice, the second time with its own mask.",
            FEW,
        ),
    ),
    "portrait-head": Note(
        "The person, from the features of the depth trunk, which is exactly that of `depth`.",
        SCENES + " 85 % portraits.",
        "logistic, per pixel; the trunk does not learn.",
        "Figures stand out whole, with soft and somewhat frayed borders. The cameraman is found"
        " nearly whole, the astronaut with holes and her helmet, and faint parts of the rocket.",
        (DRAWN, "The trunk was trained for depth alone.", FEW),
    ),
    "depth": Note(
        "Relative inverse depth: 1 is near. Its parts are `depth-trunk` and `depth-head`.",
        SCENES,
        "scale-invariant in log depth (Eigen 2014, share 0.5), and its slopes (Eigen 2015).",
        "Figures and the nearest things stand out of the room, with soft borders; the floor's slope"
        " is faint, and textures leave traces. The cameraman stands out of his meadow; the"
        " astronaut comes out nearer than what is behind her, but so does the rocket, and her patch"
        " is a hole; the cat is flat; the cup is a rim on a saucer.",
        (
            "It knows no metres: the figures are after scaling by the ratio of medians.",
            DRAWN,
            "Of photographs there is no true depth here: they are shown, not measured.",
            FEW,
        ),
    ),
    "depth-head": Note(
        "The head of `depth`, on the features of `depth-trunk`: the same weights.",
        SCENES,
        "that of `depth`.",
        "As `depth`.",
        ("What `depth` cannot do.",),
    ),
    "saliency": Note(
        "Where people would look, by a rule: faces, then what stands out, then the middle.",
        SCENES,
        "10 KL - 2 CC - NSS (Cornia 2018).",
        "Faces of figures are found, and roughly what stands out. In the two photographs of people"
        " the head is a peak among others at the upper edge; of the cat and the cup only that edge"
        " lights up, which is wrong.",
        (
            "Nobody's looks were recorded: the truth is a rule (`model_defs/scenes/labels.py`)."
            " The figures say how well the net has learned the rule, not how well it knows people.",
            DRAWN,
            FEW,
        ),
    ),
    "inpaint-lite": Note(
        "What might be behind a hole.",
        "none.",
        "none.",
        "Holes in smooth surroundings and strokes can hardly be found again, also in photographs;"
        " stripes end in a blur, the corner of a box in a smear, and above the astronaut's hair"
        " there is a brown haze.",
        (
            "It learned nothing yet: its layers are initialized by hand "
            "(`toolchain/training/inpaint_initialization.py`) to draw means of the first known"
            " colours to the left, right, top and bottom, of which"
            " the nearer count more. Those behind the means can learn; 400 steps made photographs"
            " a little better and scenes a little worse. Three in ten of its channels are 0.",
            "The initialization was chosen among a few rules by the evaluation above: its figures"
            " flatter a little.",
            "Large holes become blurs and streaks of the colours around them; no texture, edge or"
            " thing is continued.",
            "Deeper than 250 pixels from the border of a hole (of 512 x 680) it draws black.",
            "By the mean error (L1) on scenes it is only a little better than a copy of the nearest"
            " pixel, which never blurs; in photographs that copy has the better SSIM.",
            "The photographs of the evaluation are few (their number is in the table).",
        ),
    ),
}
