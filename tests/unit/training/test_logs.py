"""The logged curves of a run."""

from ser.training.logs import History


def test_curves_of_a_single_point_have_no_panel():
    fitted = History({"val/uar": ([0], [0.5]), "val/loss": ([0], [1.3])})
    assert fitted.panels() == {}
    trained = History({"val/loss": ([9], [1.3]), "train/loss": ([4, 9], [2.0, 1.5])})
    assert set(trained.panels()) == {"Loss"}
    assert set(trained.panels()["Loss"]) == {"training", "validation"}


def test_a_checkpoint_is_at_the_last_validation_before_it_was_saved():
    """Also if two validations have the same UAR. Lightning counts steps from 0."""
    history = History({"val/uar": ([56, 113, 170], [0.5, 0.5, 0.5])})
    assert [history.last_validation(steps) for steps in (57, 114, 170, 400)] == [56, 113, 170, 170]
    assert history.last_validation(3) is None
