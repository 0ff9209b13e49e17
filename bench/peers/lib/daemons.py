"""The daemons of Jasmin as bench/peers/jasmin runs them, and their configuration over Jasmin's own interface.

    daemons.py run DAEMON CONFIG LOCKS          jasmind, dlrlookupd or dlrd, with two things different
    daemons.py configure CONFIG PORT on|off     one user, one route, one connector to the SMSC at PORT

`configure` returns once the connector is bound and, with reports on, once both daemons of reports
consume; it gives up after SECONDS.
"""

import os
import runpy
import sys

# Messages that one consumer may hold. The release has 1 written into it, which leaves a single message
# between the queue and the SMSC.
PREFETCH = 100

SECONDS = 60
NAME = "bench"
REPORT_QUEUES = ("DLRLookup-main", "dlr_thrower")


def run(daemon, config, locks):
    import lockfile

    from jasmin.queues.factory import AmqpFactory

    # Locks of the whole machine, in a folder that everybody shares, become ours.
    lock = lockfile.FileLock
    lockfile.FileLock = lambda path: lock(os.path.join(locks, os.path.basename(path)))

    ready = AmqpFactory._got_channel

    def with_prefetch(self, channel):
        limit = channel.basic_qos
        channel.basic_qos = lambda prefetch_count: limit(prefetch_count=PREFETCH)
        return ready(self, channel)

    AmqpFactory._got_channel = with_prefetch

    options = ["--disable-jcli"] if daemon == "jasmind" else []
    sys.argv = [daemon, "--config", config, *options]
    runpy.run_module(f"jasmin.bin.{daemon}", run_name="__main__", alter_sys=True)


def configure(config, port, reports):
    from twisted.internet import defer, reactor

    failures = []

    def fail(failure):
        failures.append(failure.getErrorMessage())

    def give_up():
        failures.append(f"not within {SECONDS} s")
        reactor.stop()

    @defer.inlineCallbacks
    def work():
        yield set_up(config, port)
        if reports == "on":
            yield consumers(config)

    def begin():
        work().addErrback(fail).addBoth(lambda _: reactor.running and reactor.stop())

    reactor.callLater(SECONDS, give_up)
    reactor.callWhenRunning(begin)
    reactor.run()
    if failures:
        sys.exit(f"daemons.py: {failures[0]}")


def set_up(config, port):
    import logging

    from twisted.internet import defer

    from jasmin.managers.configs import SMPPClientPBConfig
    from jasmin.managers.proxies import SMPPClientManagerPBProxy
    from jasmin.protocols.smpp.configs import SMPPClientConfig
    from jasmin.routing.configs import RouterPBConfig
    from jasmin.routing.jasminApi import Group, SmppClientConnector, User
    from jasmin.routing.proxies import RouterPBProxy
    from jasmin.routing.Routes import DefaultRoute

    # 0 is no limit; the release's own value is one message a second.
    connector = SMPPClientConfig(
        id=NAME,
        port=int(port),
        username=NAME,
        password=NAME,
        submit_sm_throughput=0,
        dlr_expiry=3600,
        log_level=logging.WARNING,
    )

    @defer.inlineCallbacks
    def work():
        router = yield connected(RouterPBProxy, RouterPBConfig(config).port)
        group = Group(NAME)
        yield done(router.group_add(group), "the group")
        yield done(router.user_add(User(NAME, group, NAME, NAME)), "the user")
        yield done(router.mtroute_add(DefaultRoute(SmppClientConnector(NAME)), 0), "the route")
        manager = yield connected(SMPPClientManagerPBProxy, SMPPClientPBConfig(config).port)
        yield done(manager.add(connector), "the connector")
        yield done(manager.start(NAME), "the connector's start")
        while (yield manager.session_state(NAME)) != "BOUND_TRX":
            yield pause()

    return work()


def connected(proxy, port):
    """A proxy that is connected, tried again until the daemon listens."""
    from twisted.internet import defer, error

    @defer.inlineCallbacks
    def work():
        while True:
            made = proxy()
            try:
                yield made.connect("127.0.0.1", port)
            except error.ConnectError:
                yield pause()
            else:
                defer.returnValue(made)

    return work()


def done(answer, what):
    """The answer, if it is a yes."""

    def check(yes):
        if not yes:
            raise RuntimeError(f"{what} was refused")

    return answer.addCallback(check)


def consumers(config):
    """Waits until somebody consumes from each queue of reports: what is published before is lost."""
    from twisted.internet import defer, reactor

    from jasmin.queues.configs import AmqpConfig
    from jasmin.queues.factory import AmqpFactory

    @defer.inlineCallbacks
    def work():
        broker = AmqpConfig(config)
        factory = AmqpFactory(broker)
        factory.preConnect()
        reactor.connectTCP(broker.host, broker.port, factory)
        yield factory.getChannelReadyDeferred()
        for queue in REPORT_QUEUES:
            while (yield factory.chan.queue_declare(queue=queue)).consumer_count == 0:
                yield pause()

    return work()


def pause():
    from twisted.internet import reactor, task

    return task.deferLater(reactor, 0.1)


if __name__ == "__main__":
    {"run": run, "configure": configure}[sys.argv[1]](*sys.argv[2:])
