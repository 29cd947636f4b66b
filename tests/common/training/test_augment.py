"""Augmentation against the obvious per-sample loop."""

import pytest
import torch
import torch.nn.functional as F

from common.config import Config, DataConfig
from common.errors import UserError
from common.training.augment import Cropped, PadCropFlip


def test_every_image_is_one_of_its_crops_or_mirrored_crops():
    images = torch.randn(6, 3, 5, 4)
    augment = PadCropFlip(images, 2)
    index = torch.randint(0, 6, (200,))
    out = augment(index, **augment.draw(200, torch.Generator().manual_seed(0)))
    assert out.shape == (200, 3, 5, 4)
    seen = set()
    for image, i in zip(out, index, strict=True):
        padded = F.pad(images[i], (2, 2, 2, 2))
        matches = [(dy, dx, flip) for dy in range(5) for dx in range(5) for flip in (0, 1)
                   if torch.equal(image, crop(padded, dy, dx, flip))]
        assert matches
        seen.add(matches[0])
    assert len(seen) > 40, "all 25 offsets and both orientations occur"


def crop(padded, dy, dx, flip):
    piece = padded[:, dy:dy + 5, dx:dx + 4]
    return piece.flip(-1) if flip else piece


def test_without_flip_nothing_is_mirrored():
    images = torch.arange(24.0).reshape(1, 1, 4, 6) + 1
    augment = PadCropFlip(images, 0, flip=False)
    out = augment(torch.zeros(50, dtype=torch.long), **augment.draw(50, torch.Generator()))
    assert torch.equal(out, images.expand(50, -1, -1, -1))


def test_the_generator_decides_everything():
    augment = PadCropFlip(torch.randn(4, 1, 8, 8), 3)
    index = torch.arange(4)
    a, b, c = (augment(index, **augment.draw(4, torch.Generator().manual_seed(s)))
               for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_reflected_border_is_torchs_reflection():
    images = torch.randn(6, 3, 5, 4)
    augment = PadCropFlip(images, 2, border="reflect")
    index = torch.randint(0, 6, (100,))
    drawn = augment.draw(100, torch.Generator().manual_seed(0))
    out = augment(index, **drawn)
    for k, image in enumerate(out):
        padded = F.pad(images[index[k]], (2, 2, 2, 2), mode="reflect")
        dy, dx = drawn["offset"][:, k, 0].tolist()
        assert torch.equal(image, crop(padded, dy, dx, drawn["flip"][k].item()))
    assert torch.equal(PadCropFlip(images, 0, border="reflect").padded, images)


def test_a_reflection_as_wide_as_the_image_is_one_line():
    with pytest.raises(UserError, match="4 pixels wide: expected less than the images' 4 pixels"):
        PadCropFlip(torch.zeros(1, 1, 5, 4), 4, border="reflect")


class Network(Cropped):
    """Batches of digits, shifted by up to ``pad`` pixels."""

    def build(self):
        self.model = torch.nn.Flatten()
        self.augmented = PadCropFlip(self.inputs, self.pad) if self.pad else None


@pytest.mark.parametrize("pad", [0, 2])
def test_a_batch_is_cropped_where_there_is_something_to_crop(pad):
    made = type("Padded", (Network,), {"pad": pad})(Config(data=DataConfig("digits")))
    row = made.row(3)
    assert ("offset" in row) == bool(pad)
    images, labels = made.batch(row)
    plain = made.inputs[row["index"]]
    assert torch.equal(labels, made.labels[row["index"]])
    if not pad:
        assert torch.equal(images, plain)
        return
    for image, whole, (dy, dx), flip in zip(images, plain, row["offset"][:, :, 0].T.tolist(),
                                            row["flip"], strict=True):
        piece = F.pad(whole, (2, 2, 2, 2))[:, dy:dy + 8, dx:dx + 8]
        assert torch.equal(image, piece.flip(-1) if flip else piece)
    again = made.row(3)
    assert torch.equal(row["offset"], again["offset"]), "a function of the step"
    assert not torch.equal(row["offset"], made.row(4)["offset"])
