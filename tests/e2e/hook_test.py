"""Scripts whose hooks are all logged, and what they logged."""

from neap_server import PRELUDE, NeapTest

NOTED = "on_connect on_message on_idle on_timer on_drain on_closing on_disconnect".split()


def traced(options="framing = 'line'", before="", **hooks):
    """A script whose hooks are all logged, and then do what the given Lua functions do."""
    names = NOTED + [name for name in hooks if name not in NOTED]
    given = ", ".join(f"{name} = {code}" for name, code in hooks.items())
    return f"""{PRELUDE} {before}
      local given, app = {{ {given} }}, {{ {options}, hook_timeout = 10 }}
      for name in ("{" ".join(names)}"):gmatch("%S+") do
        app[name] = function(conn, ...)
          note(name, ...)
          if given[name] then return given[name](conn, ...) end
        end
      end
      return app"""


class HookTest(NeapTest):
    def history(self, server):
        """All that was noted, once the server has ended."""
        self.assertEqual(server.stop(), 0)
        return server.events()

    def ends(self, reason, server):
        """Waits for the end of a connection."""
        server.wait_log(rf'"on_disconnect {reason}\b')

    def assert_history(self, server, *events):
        self.assertEqual(self.history(server), list(events))
