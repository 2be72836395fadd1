"""Each photometric range is used: its factors reach both of its ends and leave everything else alone."""

from __future__ import annotations

import torch

from mayhem_train.datasets.transforms.photometric import Photometric, vary_colours

LUMA = torch.tensor([0.299, 0.587, 0.114])


def test_saturation_scales_the_distance_from_grey_and_keeps_the_brightness() -> None:
    image = torch.randint(60, 190, (3, 8, 9)).float()
    grey = torch.tensordot(LUMA, image, 1)
    factors = []
    for seed in range(20):
        torch.manual_seed(seed)
        varied = vary_colours(image, Photometric(0, 0, 0.5, 0, 0, 0))
        torch.testing.assert_close(torch.tensordot(LUMA, varied, 1), grey, atol=1e-2, rtol=0)
        ratios = ((varied - grey) / (image - grey))[(image - grey).abs() > 5]
        assert ratios.std() < 1e-3
        factors.append(float(ratios.mean()))
    assert 0.5 <= min(factors) < 0.7
    assert 1.3 < max(factors) <= 1.5


def test_brightness_and_contrast_use_the_whole_of_their_ranges() -> None:
    image = torch.randint(60, 190, (3, 8, 9)).float()
    mean = torch.tensordot(LUMA, image, 1).mean()
    brighter, stronger = [], []
    for seed in range(20):
        torch.manual_seed(seed)
        brighter.append(float(vary_colours(image, Photometric(0.5, 0, 0, 0, 0, 0)).sum() / image.sum()))
        varied = vary_colours(image, Photometric(0, 0.5, 0, 0, 0, 0))
        stronger.append(float((varied - mean).norm() / (image - mean).norm()))
    for factors in (brighter, stronger):
        assert 0.499 <= min(factors) < 0.7
        assert 1.3 < max(factors) <= 1.501


def test_hue_turns_either_way_by_up_to_its_share_of_a_full_turn() -> None:
    """About the grey axis: the angle in the plane across it, of a colour that is no grey."""
    red, green = torch.tensor([2.0, -1, -1]) / 6**0.5, torch.tensor([0.0, 1, -1]) / 2**0.5
    image = torch.tensor([180.0, 90, 90])[:, None, None].expand(3, 4, 4)
    turns = []
    for seed in range(40):
        torch.manual_seed(seed)
        colour = vary_colours(image, Photometric(0, 0, 0, 0.25, 0, 0))[:, 0, 0]
        turns.append(float(torch.atan2(colour @ green, colour @ red)) / (2 * torch.pi))
    assert -0.251 <= min(turns) < -0.15
    assert 0.15 < max(turns) <= 0.251
