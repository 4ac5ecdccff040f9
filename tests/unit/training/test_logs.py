"""The logged curves of a run."""

from ser.training.logs import History


def test_curves_of_a_single_point_have_no_panel():
    fitted = History({"val/uar": ([0], [0.5]), "val/loss": ([0], [1.3])})
    assert fitted.panels() == {}
    trained = History({"val/loss": ([9], [1.3]), "train/loss": ([4, 9], [2.0, 1.5])})
    assert set(trained.panels()) == {"Loss"}
    assert set(trained.panels()["Loss"]) == {"training", "validation"}
