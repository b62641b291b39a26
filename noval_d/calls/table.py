"""The table of the calls that the control socket serves, and what each needs to be asked."""

from __future__ import annotations

from noval_d.calls.about import About
from noval_d.calls.adoption import Adoption
from noval_d.calls.fleet import Fleet
from noval_d.calls.groups import Groups
from noval_d.calls.life import LifeCalls
from noval_d.calls.nodes import NodeCalls
from noval_d.calls.panes import Panes
from noval_d.calls.recording import Recordings
from noval_d.calls.scale import Scale
from noval_d.calls.tasks import TaskCalls
from noval_d.control.calls import Access, Call


class Answers(About, Adoption, Recordings, Fleet, NodeCalls, LifeCalls, Scale, Groups, TaskCalls, Panes):
    """The daemon's side of every call. One method a call."""

    def table(self) -> dict[str, Call]:
        """Return what the control server serves."""
        read, write = Access.READ, Access.WRITE
        plain = {
            "ping": (self.ping, read),
            "agents": (self.agents, read),
            "agents_page": (self.agents_page, read),
            "place": (self.place, read),
            "occupies": (self.occupies, read),
            "trace": (self.trace, read),
            "presence": (self.presence, read),
            "node_list": (self.node_list, read),
            "node_show": (self.node_show, read),
            "node_drain": (self.node_drain, write),
            "node_resume": (self.node_resume, write),
            "node_remove": (self.node_remove, write),
            "scale_status": (self.scale_status, read),
            "history": (self.history, read),
            "doctor": (self.doctor, read),
            "health": (self.health, read),
            "config": (self.config, read),
            "dead_list": (self.dead_list, read),
            "schedule_list": (self.schedule_list, read),
            "schedule_show": (self.schedule_show, read),
            "audit": (self.audit, write),
            "policy_check": (self.policy_check, read),
            "task_list": (self.task_list, read),
            "task_show": (self.task_show, read),
            "task_add": (self.task_add, write),
            "task_claim": (self.task_claim, write),
            "task_update": (self.task_update, write),
            "task_done": (self.task_done, write),
            "task_fail": (self.task_fail, write),
            "task_cancel": (self.task_cancel, write),
            "task_reassign": (self.task_reassign, write),
            "schedule_add": (self.schedule_add, write),
            "schedule_cancel": (self.schedule_cancel, write),
            "register": (self.register, write),
            "adopt": (self.adopt, write),
            "proposals": (self.proposals, write),
            "driver_record": (self.driver_record, write),
            "unregister": (self.unregister, write),
            "inbox": (self.inbox, write),
            "reply": (self.reply, write),
            "answer": (self.answer, write),
            "dialog_answer": (self.dialog_answer, write),
            "pause": (self.pause, write),
            "resume": (self.resume, write),
            "dead_retry": (self.dead_retry, write),
            "dead_drop": (self.dead_drop, write),
            "hook": (self.hook, write),
            "reload": (self.reload, write),
            "stop": (self.stop, write),
            "stop_agent": (self.stop_agent, write),
        }
        streams = {
            "status": (self.status, read),
            "agents_watch": (self.agents_watch, read),
            "watch": (self.watch, read),
            "follow": (self.follow, read),
            "send": (self.send, write),
            "send_group": (self.send_group, write),
            "peek": (self.peek, write),
            "spawn": (self.spawn, write),
            "restart": (self.restart, write),
        }
        calls = {name: Call(handler=handler, access=access) for name, (handler, access) in plain.items()}
        for name, (stream, access) in streams.items():
            calls[name] = Call(handler=stream, access=access, streams=True)
        return calls
