from os.path import join

import pytest

from redis_mw.errors import SettingsError
from redis_mw.settings import resolve


def test_a_dotted_path_leads_to_its_function():
    assert resolve("os.path.join") is resolve("call:os.path.join") is join


def test_a_callable_is_itself():
    assert resolve(join) is join


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("os.path.joyn", "'joyn'"),
        ("os.pth.join", "'os.pth'"),
        ("no_such_package.module.name", "'no_such_package'"),
        ("os.sep", "not callable"),
        ("join", "not a dotted path"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ended(target, hint):
    with pytest.raises(SettingsError) as caught:
        resolve(target, "sessions.user_of")
    (problem,) = caught.value.problems
    assert problem.path == "sessions.user_of" and hint in problem.message


def test_an_import_that_fails_inside_the_module_is_its_own_error(tmp_path, monkeypatch):
    _ = (tmp_path / "half_installed.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        resolve("half_installed.user_of")
