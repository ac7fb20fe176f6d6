import pytest

from tests.unit.chat.samples import Made, make


@pytest.fixture(scope="session")
def skills(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A stand-in trained for two steps on the task skills: it answers, and nobody would pay for it."""
    return make("skills", tmp_path_factory.mktemp("skills"))
