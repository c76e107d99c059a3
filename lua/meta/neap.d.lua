---@meta neap

--- What scripts see of neap: the table that a script returns, connections, and the module that
--- `require` gives. Editors read this file (LuaCATS); docs/reference.md is made from it;
--- tests/e2e/test_meta.py holds it against what the C code exports.

-- ---- Words and shapes ----

--- A number of bytes, or a text with K, M or G: `65536`, `"64K"`, `"16M"` (powers of 1024).
---@alias neap.Size integer|string

--- Where to listen. A text is `tcp://HOST:PORT`, `udp://HOST:PORT`, `unix:///PATH`,
--- `unixgram:///PATH` or `fd://N`; a number is a port of `tcp://127.0.0.1`. Hosts are numeric, or
--- `localhost` (127.0.0.1 and ::1); port 0 takes a free port. Options follow as a query, joined
--- with `&`: `?backlog=1024` (listen(2); tcp, unix, fd), `?ipv6_only=0` (IPV6_V6ONLY of ipv6(7);
--- tcp, udp), `?mode=0660` (of the socket file, octal; unix, unixgram), `?reuse_port=1`
--- (SO_REUSEPORT of socket(7); tcp, udp).
---@alias neap.Address string|integer|neap.AddressTable

--- An address in parts, so that no text in one part can change another.
---@class neap.AddressTable
--- Default: `"tcp"`.
---@field transport? "tcp"|"udp"|"unix"|"unixgram"
--- A numeric address or `"localhost"`; for unix and unixgram, the path.
---@field host? string
--- Another name for `host`, for unix and unixgram.
---@field path? string
--- 0 to 65535; 0 takes a free port. For tcp and udp it must be there.
---@field port? integer

--- Why a connection ended, in one word.
---@alias neap.Reason
---| "eof"       # The peer closed its sending half, and there is no `on_eof`.
---| "closed"    # The script closed it; the detail is what it gave to `close` or `abort`.
---| "reset"     # The peer reset it, or sending failed; the detail is a name of errno(3).
---| "idle"      # `idle_timeout` ran out.
---| "timeout"   # The detail says which: `message_timeout` or `send_timeout`.
---| "error"     # A hook raised, and the detail is the message; or memory was out.
---| "malformed" # The bytes do not fit the framing, whose name is the detail.
---| "oversize"  # A message is longer than `max_message`; the detail is the framing's name.
---| "full"      # The peer does not read; the detail is `max_output` or `max_buffered`.
---| "limit"     # A datagram peer made room for another; the detail is `max_peers`.
---| "kicked"    # `neap kick`.
---| "shutdown"  # The server stops; the detail is `drain_timeout` if that ran out.

--- What can go wrong at run time gives nil, a message for people and a code for programs.
---@alias neap.Code
---| "ECLOSED"    # The connection is closing or gone.
---| "ENOBUFS"    # Over `max_output`: nothing was queued.
---| "EMSGSIZE"   # The framing cannot carry a message of that length.
---| "EOPNOTSUPP" # Not for datagrams.
---| "ENOMEM"     # Out of memory.
---| "EOF"        # The peer's end came before a whole message.
---| "ETIMEDOUT"  # It took too long; or idle_timeout ran out, and then the message is "idle".
---| "ERAISED"    # A task has raised that.
---| "ECANCELED"  # A task was cancelled.
---| "EBADMSG"    # What came is no message of that framing.
---| "EINVAL"     # Not an address.
---| "EMFILE"     # max_connections is reached, or the system has no descriptor left.
---| "ENOTFOUND"  # There is no such name, or it has no address.
---| "EAGAIN"     # The name servers gave no answer that says anything: it may be asked again.
---| string       # What connect(2) answers: ECONNREFUSED, EHOSTUNREACH, ENOENT.

--- How a stream is cut into messages: a name, or a table with a name at `[1]`. Datagrams need none:
--- each is one message.
---@alias neap.Framing
---| "raw"       # Whatever one read brought, at most `max_message` of it.
---| "line"      # Up to `\n`; a `\r` before it is left out. Sent with `\n`.
---| "length"    # A length field of 4 bytes, big-endian, and so many bytes.
---| "netstring" # `5:hello,`
---| neap.RawFraming
---| neap.LineFraming
---| neap.DelimiterFraming
---| neap.FixedFraming
---| neap.LengthFraming
---| neap.NetstringFraming
---| neap.CustomFraming

--- Whatever one read brought is a message, at most `max_message` of it.
---@class neap.RawFraming
---@field [1] "raw"
--- Messages go out as they are; with this framing they do anyhow.
---@field send? "raw"

--- A message is a line. It ends with `\n`; a `\r` before that is left out.
---@class neap.LineFraming
---@field [1] "line"
--- What is sent after a message, 1 to 64 bytes; it changes nothing in what is received.
--- Default: `"\n"`.
---@field eol? string
--- Messages go out without an end of line.
---@field send? "raw"

--- A message ends with a delimiter, which is not part of it.
---@class neap.DelimiterFraming
---@field [1] "delimiter"
--- The delimiter, 1 to 64 bytes.
---@field [2] string
--- Messages go out without the delimiter.
---@field send? "raw"

--- Every message has the same length.
---@class neap.FixedFraming
---@field [1] "fixed"
--- Bytes, from 1 to `max_message`. To send another length is EMSGSIZE.
---@field [2] integer
--- Messages go out whatever their length.
---@field send? "raw"

--- A length field says how long a message is.
---@class neap.LengthFraming
---@field [1] "length"
--- Width of the field in bytes, 1 to 8, or `"varint"` (unsigned LEB128). Default: 4.
---@field bytes? integer|"varint"
--- Order of the field's bytes. Default: `"big"`.
---@field endian? "big"|"little"
--- Bytes of the frame before the field, at most 4086. Default: 0.
---@field offset? integer
--- So many bytes more than the field says follow it; -4 for a field of 4 bytes that counts itself.
--- Default: 0.
---@field adjust? integer
--- Leading bytes that the script does not get, at most 4096. Default: everything through the field.
--- Any other number but 0, and any number but 0 with an `offset`, needs `send = "raw"`.
---@field strip? integer
--- Messages go out as they are, without a length field.
---@field send? "raw"

--- A message is a netstring, as D. J. Bernstein defined them: `5:hello,`.
---@class neap.NetstringFraming
---@field [1] "netstring"
--- Messages go out as they are.
---@field send? "raw"

--- A function of the script finds the ends of messages.
---@class neap.CustomFraming
---@field [1] "custom"
--- Gets the first bytes that have come, at most `peek`. It returns the length of the whole frame,
--- and how many bytes at its head and at its tail are not part of the message (0 if not given);
--- nil to be called again when more has come; false for a malformed frame, which ends the
--- connection, as an error does.
---@field [2] fun(bytes: string): integer|false|nil, integer?, integer?
--- Gets a message and returns the bytes to send. Without it messages go out as they are.
---@field encode? fun(message: string): string
--- How many bytes the function may see, 1 to 4096. Default: 64.
---@field peek? integer
--- Messages go out as they are; `encode` is not asked.
---@field send? "raw"

--- A socket option: level, name and value of setsockopt(2). Constants are names or numbers.
---@class neap.SocketOption
---@field [1] string|integer
---@field [2] string|integer
---@field [3] integer|boolean

-- ---- What a script returns ----

--- One service: where it listens, its hooks, its options. A string that a hook returns is sent to
--- the connection as one message; nil, true and false send nothing, any other type is an error.
--- Hooks of one connection run one after the other, in the order of what happened.
---@class neap.Service
--- Where to listen: one address or a list, at most 64; `{}` is nowhere. Default:
--- `"tcp://127.0.0.1:4343"` for a lone service; among several each says its own.
---@field listen? neap.Address|neap.Address[]
--- How streams are cut into messages. Default: `"raw"`.
---@field framing? neap.Framing
--- Socket options for the listening sockets, set before they are bound, at most 32. Accepted
--- sockets inherit what socket(7) and tcp(7) say.
---@field socket? neap.SocketOption[]
---
--- Called before a stream connection exists. false closes it at once, and no other hook runs; an
--- error does the same. Not called for datagrams.
---@field on_accept? fun(peer: neap.Peer): boolean?
--- A stream is open, or a datagram peer has sent its first datagram.
---@field on_connect? fun(conn: neap.Connection): string|boolean|nil
--- One whole message under the connection's framing, or one datagram.
---@field on_message? fun(conn: neap.Connection, message: string): string|boolean|nil
--- Instead of `on_message`, `on_eof`, `on_idle` and `on_drain`: the whole connection as
--- straight-line code, which waits in `conn:messages`, `conn:read` and the like. Returning closes
--- the connection once all is sent; an error closes it with the reason `"error"`. After a reload a
--- session that waits in `conn:messages` ends there (its `<close>` variables run, the code behind
--- the loop does not), and that of the new version begins, with the same data and unread bytes;
--- `resumed` is true then. One that waits elsewhere does so when it comes to `conn:messages` next.
---@field on_session? fun(conn: neap.Connection, resumed: boolean)
--- The peer closed its sending half; `rest` is an unfinished message, else `""`. With this hook the
--- connection stays open for sending; without it, it closes once its output is sent.
---@field on_eof? fun(conn: neap.Connection, rest: string): string|boolean|nil
--- `idle_timeout` ran out after so many seconds. `"keep"` gives the connection as long again;
--- anything else closes it, and so does a service without this hook.
---@field on_idle? fun(conn: neap.Connection, seconds: number): "keep"|nil
--- A timer that `conn:after` set is due.
---@field on_timer? fun(conn: neap.Connection, name: string): string|boolean|nil
--- Queued output fell below half of `high_water`, after a `send` that said `"full"`.
---@field on_drain? fun(conn: neap.Connection)
--- neap is about to close the connection, for one of: idle, timeout, error, malformed, oversize,
--- limit, shutdown. A returned string is the last message.
---@field on_closing? fun(conn: neap.Connection, reason: neap.Reason, detail?: string): string?
--- The last hook of a connection, exactly once for each that had its `on_connect`. Its fields and
--- its data can still be read.
---@field on_disconnect? fun(conn: neap.Connection, reason: neap.Reason, detail?: string)
--- A hook of this service raised; the error is logged already. `"keep"` keeps the connection;
--- anything else closes it with the reason `"error"`.
---@field on_error? fun(conn: neap.Connection|nil, err: neap.Error): "keep"|nil
---
--- Seconds in which no byte came and the peer took none; 0 is none.
--- Default: none; datagram peers 30 s.
---@field idle_timeout? number
--- Seconds from the first byte of a message to its last; 0 is none. Default: 30 s.
---@field message_timeout? number
--- Seconds in which queued output makes no progress, and for all that is queued after a close; 0 is
--- none. Default: 60 s.
---@field send_timeout? number
--- Seconds after a close in which the peer must take more of what is queued, and then close as
--- well. Default: 5 s.
---@field linger? number
--- Bytes of one message, without its framing. A longer one ends a stream before it is buffered; a
--- longer datagram is dropped. Default: 1 MiB.
---@field max_message? neap.Size
--- Datagrams whose hooks wait at once in a worker, with `sessions = false`; more are dropped.
--- Default: 1024.
---@field max_waiting? integer
--- Bytes that `conn:read` may be asked for at once. Default: 16 MiB.
---@field max_read? neap.Size
--- Bytes of queued output; over it `send` says `"full"`, and no message is delivered.
--- Default: 1 MiB.
---@field high_water? neap.Size
--- Bytes of queued output that are never passed. Default: 8 MiB.
---@field max_output? neap.Size
--- What a message over `max_output` does: `"close"` ends the connection with the reason `"full"`,
--- `"drop"` drops the message and leaves the connection open. Default: `"close"`.
---@field overflow? "close"|"drop"
--- Whether an address that sends datagrams is a connection. With false each datagram stands alone:
--- `on_message` is the only hook, and its connection is gone when it returns. Default: `true`.
---@field sessions? boolean
--- Whether a datagram peer that has sent only one datagram is sent at most 3 times what it sent
--- plus 1,200 bytes; what is more is dropped. Not with `sessions = false`. Default: `true`.
---@field reply_limit? boolean
--- TCP_NODELAY of tcp(7). Default: `true`.
---@field nodelay? boolean
--- Whole seconds without traffic before TCP asks whether the peer is still there (TCP_KEEPIDLE of
--- tcp(7)), then every 10 s; 0 is never. Default: 60 s.
---@field keepalive? number

--- What holds for all services together.
---@class neap.App
--- Services by name, 1 to 256. A name has letters, digits, `_` and `-`, and no digit first.
---@field services? table<string, neap.Service>
---
--- This worker is about to serve this version. `previous` is the number of the one that it serves
--- until then, nil at the start of the server. If it raises, the server does not start, or goes on
--- with the version before.
---@field on_start? fun(previous: integer|nil)
--- This version serves no longer: another one has taken over (`reason` is `"reload"`), and the
--- timers of this one end after it; or the server stops (`"shutdown"`), and this worker's
--- connections are closed after it. What it waits for has until `drain_timeout`.
---@field on_stop? fun(reason: string)
--- Each log record of this worker. A string takes the place of the line, false drops it. Not called
--- for what is logged inside it. If it raises, the line is written as if it were not there.
---@field on_log? fun(record: neap.LogRecord): string|false|nil
--- A hook raised whose service has no `on_error`, or that belongs to none; then `conn` is nil.
---@field on_error? fun(conn: neap.Connection|nil, err: neap.Error): "keep"|nil
---
--- Threads that serve, each with its own loop and its own Lua state; `"auto"` is one for each core
--- that the process may use. Default: 1.
---@field workers? integer|"auto"
--- Stream connections of all workers together, and those of `neap.connect`.
--- Default: descriptor limit less 64.
---@field max_connections? integer
--- Stream connections from one address, except loopback and Unix sockets; 0 is no limit.
--- Default: none.
---@field max_connections_per_ip? integer
--- Stream connections in a second, except from loopback and Unix sockets; 0 is no limit.
--- Default: none.
---@field accept_rate? integer
--- Datagram peers of all workers together, an equal share for each. When there is no room, the peer
--- goes that was not heard for longest, those of a single datagram first. Default: 65536.
---@field max_peers? integer
--- The name servers that `neap.resolve` and `neap.connect` ask, as `"127.0.0.1"` or
--- `"[::1]:5353"`, in turn. Default: those of /etc/resolv.conf.
---@field nameservers? string[]
--- Bytes of input and output that one worker holds for all its connections. Over it, the connection
--- that holds most ends with the reason `"full"`. Default: 256 MiB.
---@field max_buffered? neap.Size
--- Bytes of Lua memory of one worker. Over it, what asks for more raises `not enough memory`.
--- Default: 256 MiB.
---@field lua_memory? neap.Size
--- Seconds of CPU time of one hook, timer or framing function. Over it, that is stopped with an
--- error. Default: 0.1 s.
---@field hook_timeout? number
--- Seconds that the script may take to load in a worker. To be read at all it must have loaded
--- once: for that it has 5 s, or what `--load-timeout` says, which holds for workers too.
--- Default: 5 s.
---@field load_timeout? number
--- Seconds from the order to stop until the connections that are left are aborted. Default: 30 s.
---@field drain_timeout? number
--- The least level that is logged. Default: `"info"`.
---@field log_level? "debug"|"info"|"warn"|"error"
--- How records are written. Default: text on a terminal, else logfmt.
---@field log_format? "text"|"logfmt"|"json"

--- What a script returns: a lone service, or a table with `services`. A lone service has the name
--- `main`, and may hold the keys too that otherwise stand beside `services`.
---@class neap.Script: neap.Service, neap.App

-- ---- What hooks are given ----

--- What `neap.connect` may be told.
---@class neap.ConnectOptions
--- Seconds for lookups and all attempts together. Default: 5 s.
---@field timeout? number
--- Default: that of the service, or `"raw"`.
---@field framing? neap.Framing
--- The service of this script whose hooks and options are to hold, in the version that then serves;
--- it need not listen anywhere (`listen = {}`).
---@field service? string

--- Who wants to connect.
---@class neap.Peer
--- A numeric address, or the path of a Unix socket, `""` if it has none.
---@field host string
--- 0 for Unix sockets.
---@field port integer
--- Both in one text: `127.0.0.1:51512`, `[::1]:51512`.
---@field address string
--- What it came through.
---@field transport "tcp"|"unix"
--- The name of the service.
---@field service string

--- What was raised.
---@class neap.Error
--- The hook's name, or `timer`, or `the framing's decode`.
---@field hook string
--- The text of the error, with file and line where Lua puts them.
---@field message string
--- Lua's stack traceback; nil where no code raised, as after a result of the wrong type.
---@field traceback? string
--- The chunk that raised, as `source` of debug.getinfo has it; nil if it is not known.
---@field source? string
--- The line in it; nil if it is not known.
---@field line? integer
--- Number of the script's version.
---@field version integer

--- A record on its way to the log.
---@class neap.LogRecord
--- Seconds since 1970-01-01 UTC.
---@field time number
--- As in `log_level`.
---@field level "debug"|"info"|"warn"|"error"
--- The text, unescaped.
---@field message string
--- The script's fields, and neap's: worker (if there are several), conn, peer, service (if there
--- are several) and version.
---@field fields table<string, string|number|boolean>

--- A connection: a stream, or a datagram peer. Handles are values: they can be kept, compared and
--- used as keys, and never reach another connection. When it is gone, its methods give nil,
--- `"closed"`, `"ECLOSED"`, and all of its fields but `id` are nil. Only `data` can be assigned.
---@class neap.Connection
--- A running number over all workers, from 1; after 2^41 it starts anew.
---@field id integer
--- `127.0.0.1:51512`, `[::1]:51512`, or the path of a Unix socket, `""` if it has none.
---@field peer string
--- The address of the peer alone, or its path.
---@field host string
--- The port of the peer; 0 for Unix sockets.
---@field port integer
--- Our side of it, written like `peer`; for a datagram, the address that it was sent to.
---@field local_address string
--- What it came through.
---@field transport "tcp"|"udp"|"unix"|"unixgram"
--- The name of its service; `main` for a lone one, nil for what `neap.connect` opened for none.
---@field service string|nil
--- Number of the script's version when it was opened.
---@field version integer
--- Bytes received.
---@field received integer
--- Bytes that the kernel has taken; of datagrams, those that were queued.
---@field sent integer
--- A table of yours, made when it is first asked for. May be replaced by another table.
---@field data table
local Connection = {}

--- Queues one message under the framing, in one or several pieces; the bytes are copied, numbers
--- are sent as text. What a hook sends leaves when it returns. Over `high_water` it gives true and
--- `"full"`, and `on_drain` follows; over `max_output` nothing is queued.
---@param message string|number
---@param ... string|number
---@return true|nil ok
---@return string? message `"full"`, or what is wrong.
---@return neap.Code? code ECLOSED, ENOBUFS, EMSGSIZE, ENOMEM.
function Connection:send(message, ...) end

--- As `send`, but the bytes go as they are, without framing.
---@param bytes string|number
---@param ... string|number
---@return true|nil ok
---@return string? message `"full"`, or what is wrong.
---@return neap.Code? code ECLOSED, ENOBUFS, ENOMEM.
function Connection:write(bytes, ...) end

--- Delivers no further message, sends what is queued, closes the sending half, and discards what
--- still comes until the peer closes or `linger` is over. A peer that takes what is queued a little
--- at a time has `send_timeout` for all of it.
---@param detail? string What `on_disconnect` is given.
---@return true|nil ok
---@return string? message
---@return neap.Code? code ECLOSED.
function Connection:close(detail) end

--- Ends it now: what is queued is dropped, and a TCP connection is reset.
---@param detail? string What `on_disconnect` is given.
---@return true|nil ok
---@return string? message
---@return neap.Code? code ECLOSED.
function Connection:abort(detail) end

--- Closes the sending half once all is sent; messages are delivered as before. Raises when the
--- connection is piped.
---@return true|nil ok
---@return string? message
---@return neap.Code? code ECLOSED, EOPNOTSUPP (datagrams).
function Connection:shutdown() end

--- Delivers no message until `resume`. Meanwhile a stream is read up to 64 KiB ahead, and 16
--- datagrams of a peer are kept; timers run.
---@return true|nil ok
---@return string? message
---@return neap.Code? code ECLOSED.
function Connection:pause() end

--- Delivers messages again, once the hook that runs has returned.
---@return true|nil ok
---@return string? message
---@return neap.Code? code ECLOSED.
function Connection:resume() end

--- Calls `on_timer` once, after so many seconds. The same name again sets the timer anew; it ends
--- with the connection.
---@param seconds number 0 to 1e9; whole milliseconds count.
---@param name string At most 255 bytes.
---@return true|nil ok
---@return string? message
---@return neap.Code? code ECLOSED, ENOMEM.
function Connection:after(seconds, name) end

--- Takes back the timer of that name.
---@param name string
---@return boolean was_set false also when the connection is gone.
function Connection:cancel(name) end

--- Waits for the next message: `nil` is one under its framing, a number so many bytes (1 to
--- `max_read`), a framing one message under that, `"all"` what comes until the peer's end (at most
--- `max_message`). In `on_message` it is what follows the message; datagrams are read whole.
--- `idle_timeout` runs meanwhile. A read that fails takes nothing. What one hook or task reads, the
--- connection's own hooks are not given; a second reader raises. `assert(conn:read())` is good
--- style: an error with the message of a failed read of the hook's own connection ends that for the
--- same reason, and is not logged.
---@param what? integer|"all"|neap.Framing
---@param timeout? number Seconds; 0 and less: only what is there. Default: none.
---@return string|nil message
---@return string? message `"eof"`, `"timeout"`, `"idle"`, `"closed"`, `"oversize"`, `"malformed"`.
---@return neap.Code? code EOF, ETIMEDOUT, ECLOSED, EMSGSIZE, EBADMSG, EOPNOTSUPP (datagrams).
function Connection:read(what, timeout) end

--- `for message in conn:messages() do`: reads until `read` would give nil. In `on_session` this is
--- the place where a session changes version.
---@param what? integer|"all"|neap.Framing As for `read`.
---@param timeout? number For each message, in seconds.
---@return fun(): string|nil
function Connection:messages(what, timeout) end

--- Waits for so many bytes and passes over them; they are not kept.
---@param count integer
---@param timeout? number Seconds without progress. Default: none.
---@return true|nil ok
---@return string? message `"eof"`, `"timeout"`, `"idle"`, `"closed"`.
---@return neap.Code? code EOF, ETIMEDOUT, ECLOSED, EOPNOTSUPP (datagrams).
function Connection:skip(count, timeout) end

--- Waits until the kernel has taken all that is queued.
---@param timeout? number Seconds. Default: none.
---@return true|nil ok
---@return string? message `"timeout"`, `"closed"`.
---@return neap.Code? code ETIMEDOUT, ECLOSED.
function Connection:flush(timeout) end

--- Joins two streams, at once: what has come on either and was not delivered, and all that
--- follows, goes to the other, without Lua. A side is read no faster than the other takes it. When
--- the input of one ends, the output of the other is closed; when one closes or is reset, so is the
--- other. No message is delivered from then on; timers, `idle_timeout` and `on_disconnect` are as
--- before. Raises when one of them is piped or read already.
---@param other neap.Connection
---@return true|nil ok
---@return "closed"|"not for datagrams"|nil message
---@return "ECLOSED"|"EOPNOTSUPP"|nil code
function Connection:pipe(other) end

--- As `neap.spawn`, but the task ends with the connection, also over reloads.
---@param fn fun(...: any): ...
---@param ... any
---@return neap.Task|nil task
---@return string? message
---@return neap.Code? code ECLOSED.
function Connection:spawn(fn, ...) end

--- How much is queued that the kernel has not taken.
---@return integer bytes 0 for datagrams, and when the connection is gone.
function Connection:pending() end

--- Whether something can be sent on it.
---@return boolean
function Connection:is_open() end

--- Sets an option for this connection alone: one of those marked in the table of options, or
--- `"framing"`, which takes effect with the byte after the current message. Raises for any other
--- name and for a bad value.
---@param name string
---@param value any
---@return true|nil ok
---@return string? message
---@return neap.Code? code ECLOSED, EOPNOTSUPP (the framing of datagrams), ENOMEM.
function Connection:set(name, value) end

--- What holds for this connection: seconds, bytes or a word. Of `"framing"`, the name alone.
---@param name string
---@return any value
---@return string? message
---@return neap.Code? code ECLOSED, EOPNOTSUPP (the framing of datagrams).
function Connection:get(name) end

--- setsockopt(2) on the connection's socket. Raises for a name that neap does not know; its number
--- will do.
---@param level string|integer `"SOL_SOCKET"`, `"IPPROTO_TCP"`; see socket(7), tcp(7), ip(7).
---@param name string|integer `"SO_RCVBUF"`, `"TCP_NODELAY"`; see the same pages.
---@param value integer|boolean|string An int, or the bytes of a structure.
---@return true|nil ok
---@return string? message
---@return neap.Code|string? code ECLOSED, EOPNOTSUPP (datagrams), or a name of errno(3).
function Connection:setsockopt(level, name, value) end

--- getsockopt(2) on the connection's socket.
---@param level string|integer
---@param name string|integer
---@return integer|string|nil value Four bytes are a number; else a string, at most 256 bytes.
---@return string? message
---@return neap.Code|string? code ECLOSED, EOPNOTSUPP (datagrams), or a name of errno(3).
function Connection:getsockopt(level, name) end

--- A function that runs later.
---@class neap.Timer
local Timer = {}

--- Ends it.
---@return boolean was_set true if it was still to run.
function Timer:cancel() end

--- A function that runs beside the hooks.
---@class neap.Task
local Task = {}

--- Waits for its end.
---@param timeout? number Seconds; 0 and less: has it ended? Default: none.
---@return true|nil ok
---@return any ... What it returned; or what it raised, `"cancelled"`, `"timeout"`, `"closed"`.
---@return neap.Code? code ERAISED, ECANCELED, ETIMEDOUT, ECLOSED.
function Task:wait(timeout) end

--- Ends it where it waits: its `<close>` variables run, nothing else of it. Raises in a task that
--- runs, which can return by itself.
---@return boolean was_to_end false if it had ended.
function Task:cancel() end

--- Writes log records. Each is one line, whatever bytes are in it, and carries the connection of
--- the hook that writes it. There may be 32 fields; of a name, any byte but letters, digits and
--- `_.-` becomes `_`. `print` writes at level info, its arguments joined with tabs.
---@class neap.Log
local log = {}

--- A record at level debug, which is not logged unless `log_level` says so.
---@param message string
---@param fields? table<string, any>
function log.debug(message, fields) end

--- A record at level info.
---@param message string
---@param fields? table<string, any>
function log.info(message, fields) end

--- A record at level warn.
---@param message string
---@param fields? table<string, any>
function log.warn(message, fields) end

--- A record at level error.
---@param message string
---@param fields? table<string, any>
function log.error(message, fields) end

--- What is served.
---@class neap.ScriptInfo
--- As the command line named it; `eval` for `-e`.
---@field path string
--- Its number: versions that took over count from 1.
---@field version integer
--- SHA-256 of the names and bytes of all its files, 64 hexadecimal digits; `""` while it is loaded
--- for a check.
---@field hash string

--- What `require "neap"` gives.
---@class neap
--- Writes log records.
---@field log neap.Log
--- What is served.
---@field script neap.ScriptInfo
--- Number of this worker, from 1. While the script is loaded for a check, 1.
---@field worker integer
--- How many workers there are. While the script is loaded for a check, 1.
---@field workers integer
--- neap's own version.
---@field version string
local neap = {}

--- The monotonic clock, read afresh (CLOCK_MONOTONIC of clock_gettime(2)).
---@return number seconds
function neap.now() end

--- The time since 1970-01-01 UTC, read afresh.
---@return number seconds
function neap.time() end

--- Waits. Only the next event of the hook's own connection waits with it; what was sent leaves
--- before. Input is read ahead, up to 64 KiB, and stays in order. In `pcall`, iterators,
--- metamethods, `<close>` and coroutines of the script it works; a function that C code calls (of
--- `string.gsub`, `table.sort`, `load`, `require`; `__tostring`) cannot wait, nor can `on_accept`,
--- `on_log`, a framing function or a script that loads: there it raises. `hook_timeout` counts from
--- one wait to the next.
---@param seconds number 0 to 1e9; whole milliseconds count.
---@return true|nil slept nil: the connection was closed meanwhile, or before.
---@return "closed"|nil message
---@return "ECLOSED"|nil code
function neap.sleep(seconds) end

--- Opens a connection, and waits until it is open. Names are looked up; over several addresses,
--- IPv6 and IPv4 take turns, and the next is tried when one fails or has not answered for 250 ms
--- (Happy Eyeballs, RFC 8305). Opened in a hook or a task of a connection it ends with that, also
--- over reloads; opened elsewhere, with the version. What `on_start` opens is there once the
--- version serves. Without `service` it is given to no hook: read it, or `pipe` it. While the
--- script loads it raises; when the server stops, only what belongs to a connection and `on_stop`
--- may connect.
---@param address string As in `listen`, or with a name: `"tcp://db.example:5432"`.
---@param options? neap.ConnectOptions
---@return neap.Connection|nil conn
---@return string? message The address and what is wrong: `"tcp://db.example:5432: timeout"`.
---@return neap.Code? code As in neap.Code; what connect(2) answers is given as it is.
function neap.connect(address, options) end

--- Looks a name up, without blocking: in the hosts file, then with the name servers and search
--- domains of the system, or `nameservers`. An address stands for itself.
---@param name string
---@param timeout? number Seconds. Default: 5 s.
---@return string[]|nil addresses Numeric, at most 16, the better ones first (RFC 6724).
---@return string? message The name and what is wrong: `"db.example: no such name"`.
---@return neap.Code? code ENOTFOUND, ETIMEDOUT, EAGAIN, ECLOSED, ENOBUFS, ENOMEM.
function neap.resolve(name, timeout) end

--- Calls `fn` with the arguments that follow, beside the hooks, once the one that runs has returned
--- or waits. It may wait. While the script loads, it is noted and begins when the version serves;
--- it ends with the version. An error in it is logged, and `on_error` asked with nil.
---@param fn fun(...: any): ...
---@param ... any
---@return neap.Task
function neap.spawn(fn, ...) end

--- Calls `fn` once, after so many seconds. While the script loads, they count from when it serves.
---@param seconds number 0 to 1e9; whole milliseconds count.
---@param fn fun()
---@return neap.Timer
function neap.after(seconds, fn) end

--- Calls `fn` every so many seconds with the seconds since its last call. It keeps its rate, passes
--- over ticks that were missed, and goes on after an error.
---@param seconds number 0.001 to 1e9; whole milliseconds count.
---@param fn fun(elapsed: number)
---@return neap.Timer
function neap.every(seconds, fn) end

--- The table kept under that name in this worker. The first time that is `initial`, or a new table;
--- later versions of the script get the same one. Kept for the first time while the script loads or
--- in `on_start`, it stays only if this version takes over.
---@param name string At most 255 bytes.
---@param initial? table
---@return table kept
function neap.keep(name, initial) end

--- Walks over the open connections of this worker, or of one of its services. What `neap.connect`
--- opened for no service is left out. Closing them on the way is allowed. Raises while the script
--- loads.
---@param service? string
---@return fun(): neap.Connection|nil next
function neap.connections(service) end

--- Stops the server, as SIGTERM does. Raises while the script loads.
---@param detail? string Is logged.
function neap.stop(detail) end

return neap
