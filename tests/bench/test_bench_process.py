import os
import sys
import time

import pytest

from bench.process import Usage, _parse, host_busy_s, read_usage, used_cpu_s

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_command_with_blanks_and_brackets_does_not_shift_the_fields() -> None:
    # proc(5): utime and stime are fields 14 and 15, rss is field 24.
    fields = [str(number) for number in range(1, 53)]
    fields[1] = "(a) strange (name)"
    fields[13], fields[14], fields[23] = "250", "50", "1024"
    usage = _parse(7, " ".join(fields))
    assert usage.cpu_s == pytest.approx(300 / os.sysconf("SC_CLK_TCK"))
    assert usage.rss_mib == pytest.approx(1024 * os.sysconf("SC_PAGE_SIZE") / 2**20)


def test_processor_time_of_this_process_is_that_of_its_own_clock() -> None:
    before, clock = read_usage({"self": os.getpid()}), time.process_time()
    while time.process_time() - clock < 0.2:
        pass
    used = used_cpu_s(before, read_usage({"self": os.getpid()}))["self"]
    assert used == pytest.approx(time.process_time() - clock, abs=0.03)


def test_a_process_that_ended_or_was_replaced_is_left_out() -> None:
    assert read_usage({"gone": 2**22 + 1}) == {}
    assert used_cpu_s({"a": Usage(1, 1.0, 1.0)}, {"a": Usage(2, 9.0, 1.0)}) == {}


def test_the_machine_is_busy_at_least_as_long_as_this_process() -> None:
    before, clock = host_busy_s(), time.process_time()
    while time.process_time() - clock < 0.2:
        pass
    after = host_busy_s()
    assert before is not None and after is not None
    assert after - before > 0.15
