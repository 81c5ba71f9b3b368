"""Which tests run: without -m all but `slow` and `long` ones; with --tenth HASH a tenth of the slow ones, too.

Ten commits whose hashes leave different remainders when divided by ten have all slow tests run.
"""

TENTHS = 10


def tenth_of(commit):
    """The number, from 0, of the tenth that belongs to a commit's hash."""
    return int(commit, 16) % TENTHS


def pytest_addoption(parser):
    parser.addoption("--tenth", type=tenth_of, metavar="HASH", help="run this commit's tenth of the slow tests, too")


def pytest_report_header(config):
    tenth = config.getoption("tenth")
    return None if tenth is None else f"with tenth {tenth} (of 0 to {TENTHS - 1}) of the slow tests"


def pytest_collection_modifyitems(config, items):
    """Every tenth in their order, so that each tenth has its share of each matrix."""
    tenth = config.getoption("tenth")
    slow = [item for item in items if item.get_closest_marker("slow")]
    left_out = set(slow) if tenth is None else set(slow) - set(slow[tenth::TENTHS])
    if not config.option.markexpr:
        left_out |= {item for item in items if item.get_closest_marker("long")}
    elif tenth is None:
        return
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
