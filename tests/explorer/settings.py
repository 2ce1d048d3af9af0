"""The bounds within which the domain's rules are shown to be clean: some in CI, larger ones by hand."""

from collections.abc import Mapping

from tests.explorer.setting import Setting
from tests.explorer.world import Left

NONE = Left(dies=0, returns=0, cuts=0, unheard=0, crashes=0, fail_overs=0, empties=0, stops=0)

CLEAN: Mapping[str, Setting] = {
    "the standby dies, then the primary": Setting(left=NONE._replace(dies=1, cuts=1, fail_overs=1)),
    "the standby is away and comes back": Setting(link="down", left=NONE._replace(returns=1, cuts=2)),
    "a connection breaks": Setting(link="down", left=NONE._replace(returns=1, unheard=1)),
    "a connection breaks, then a fail-over": Setting(left=NONE._replace(unheard=1, fail_overs=1)),
    "a process crashes, then a fail-over": Setting(left=NONE._replace(crashes=1, fail_overs=1)),
    "a decline, and a fail-over": Setting(
        link="down", left=NONE._replace(cuts=1, fail_overs=1), declines=True
    ),
    "three requests, a fail-over without the standby's knowledge": Setting(
        "AAB", link="down", left=NONE._replace(cuts=2, fail_overs=1), impatient=False
    ),
    "no standby is named, the gates are closed": Setting(
        link="down", left=NONE._replace(cuts=1, fail_overs=1, empties=1)
    ),
    "runs claim, no standby is named": Setting(
        "A", link="down", left=NONE._replace(cuts=1, fail_overs=1, empties=1), runs_claim=True
    ),
    "rule 9: a process is stopped before its send": Setting(left=NONE._replace(stops=1, fail_overs=1)),
}

BIG: Mapping[str, Setting] = {
    "all but a stop": Setting(left=Left(dies=1, returns=1, cuts=1, unheard=0, crashes=0, fail_overs=1)),
    "all with a crash": Setting(left=Left(dies=1, returns=0, cuts=1, unheard=0, crashes=1, fail_overs=1)),
    "all with a broken connection": Setting(left=Left(dies=1, returns=0, cuts=1, unheard=1, fail_overs=1)),
    "no reversal by reference": Setting(
        left=Left(dies=1, returns=1, cuts=1, fail_overs=1), reverses=False, declines=True
    ),
    "three requests in one process": Setting("AAA", left=NONE._replace(dies=1, cuts=2, fail_overs=1)),
    "three requests in two processes": Setting("AAB", left=NONE._replace(dies=1, cuts=2, fail_overs=1)),
    "three requests, the worker beside the first": Setting(
        "ABA", link="down", left=NONE._replace(cuts=3, unheard=1, fail_overs=1), worker=0
    ),
    "runs claim": Setting(left=NONE._replace(dies=1, cuts=2, fail_overs=1, empties=1), runs_claim=True),
    "rule 9: a stop, and a fail-over": Setting(left=NONE._replace(dies=1, cuts=2, fail_overs=1, stops=1)),
    "rule 9: a stop, a crash": Setting(left=NONE._replace(crashes=1, fail_overs=1, stops=1)),
}
