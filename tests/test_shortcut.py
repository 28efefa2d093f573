"""The probe finds what gives made images away, and nothing where nothing does."""

import numpy as np
import pytest
from PIL import Image

from leukemia.data.sample import draw_cells
from leukemia.errors import UserError
from leukemia.gan.pictures import resize
from leukemia.synthetic import shortcut_plot
from leukemia.synthetic.shortcut import (
    VIEWS,
    high_passed,
    low_passed,
    metrics,
    power_spectrum,
    probe,
    traces,
)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real cells with their subjects, and other genuine cells of the same subjects."""
    cells = draw_cells(160, seed=5, size=220, subjects=8)
    small = np.stack([np.asarray(Image.fromarray(each).resize((64, 64))) for each in cells.images])
    return small[:80], cells.subjects[:80], small[80:]


def test_other_genuine_cells_cannot_be_told(drawn):
    real, groups, fresh = drawn
    found = probe(real, fresh, groups, None, 0)
    for view in ("raw", "low", "high"):
        assert found.accuracy[view].low < 0.5, view
        assert found.accuracy[view].value < 0.65, view
    assert found.text.endswith("nothing gives the made cells away.")
    assert found.traces["power"] == pytest.approx(1, abs=0.25)


def test_enlarged_cells_are_told_by_their_fine_structure(drawn):
    real, groups, fresh = drawn
    blurred = resize(resize(fresh, 24), 64)
    found = probe(real, blurred, groups, None, 0)
    assert found.accuracy["high"].low > 0.8
    assert found.accuracy["low"].value < found.accuracy["high"].value
    assert found.traces["power"] < 0.5
    assert "fine structure gives them away" in found.text


def test_a_tint_is_told_by_broad_shades(drawn):
    real, groups, fresh = drawn
    tinted = np.clip(fresh * np.array([1.35, 1.0, 1.0]), 0, 255).astype(np.uint8)
    found = probe(real, tinted, groups, None, 0)
    assert found.accuracy["low"].low > 0.6
    assert found.accuracy["low"].value > 0.75


def test_the_traces_name_a_background_that_is_not_quite_black(drawn):
    real, _, fresh = drawn
    found = traces(real, np.maximum(fresh, 1))
    assert found["real_black"] > 0.2
    assert found["made_black"] == 0
    assert found["made_mean_r"] == pytest.approx(np.maximum(fresh, 1)[..., 0].mean())


def test_what_is_made_of_a_subjects_cells_is_judged_with_them(drawn):
    """Copies are the cells themselves: nothing tells them, and a network that had seen the real one
    would only call it real."""
    real, groups, _ = drawn
    found = probe(real, real, groups, groups, 0)
    for view in VIEWS:
        assert found.accuracy[view].low <= 0.5 <= found.accuracy[view].high, view
        assert found.accuracy[view].subjects == len(set(groups))


def test_same_seed_same_probe(drawn):
    real, groups, fresh = drawn
    assert probe(real[:20], fresh[:20], groups[:20], None, 3) == probe(
        real[:20], fresh[:20], groups[:20], None, 3
    )


def test_low_and_high_pass_give_the_image_back(drawn):
    real = drawn[0][:4]
    np.testing.assert_allclose(low_passed(real) + high_passed(real) - 128, real, atol=1e-3)
    flat = np.full((1, 32, 32, 3), 77, np.uint8)
    np.testing.assert_allclose(low_passed(flat), 77, atol=1e-3)
    np.testing.assert_allclose(high_passed(flat), 128, atol=1e-3)


def test_the_spectrum_of_a_wave_peaks_at_its_frequency():
    wave = 128 + 100 * np.cos(2 * np.pi * 9 * np.arange(64) / 64)
    image = np.broadcast_to(wave[:, None, None], (64, 64, 3)).astype(np.uint8)[None]
    assert power_spectrum(image)[3:].argmax() + 3 == 9


def test_too_few_cells_are_refused(drawn):
    real, groups, fresh = drawn
    with pytest.raises(UserError, match="7 images of a kind"):
        probe(real, fresh[:7], groups, None, 0)


def test_figures_and_picture(drawn):
    real, groups, fresh = drawn
    found = probe(real[:16], fresh[:16], groups[:16], None, 0)
    views = [f"synth_probe_{view}{end}" for view in VIEWS for end in ("", "_lo", "_hi")]
    assert set(metrics(found)) == {
        *views, "synth_trace_power", "synth_trace_black_real", "synth_trace_black_made",
    }  # fmt: skip
    picture = shortcut_plot.figure(found, real, fresh, "drawn cells")
    assert picture.dtype == np.uint8
    assert picture.std() > 10
