"""Our settings in the config.json of an exported folder, which may come from anybody."""

import pytest

from ser.errors import UserError
from ser.inference.load import read_number


@pytest.mark.parametrize(("value", "number"), [(2, 2.0), (0.5, 0.5), (None, None)])
def test_numbers_are_read(value, number):
    assert read_number({"temperature": value}, "temperature", "folder") == number
    assert read_number({}, "temperature", "folder") is None


@pytest.mark.parametrize("value", ["2", True, 0, -1, float("nan"), float("inf"), [2], {}])
def test_other_values_are_an_error_that_names_folder_and_key(value):
    with pytest.raises(UserError, match=r"folder.*max_seconds"):
        read_number({"max_seconds": value}, "max_seconds", "folder")
