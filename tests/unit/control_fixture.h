/* tests/unit/control_fixture.h - a control socket on the real loop, with a table of commands.
 *
 *     test ─ a client's descriptor ─> kernel ─> control ─> fixture_commands
 *
 * What:   commands that answer at once and one that holds its requests until the test answers
 *         them; a test waits for what comes and never sleeps.
 * Owns:   a temporary folder as XDG_RUNTIME_DIR, with the socket of the server "test".
 * Thread: one. Life: fixture_setup() .. fixture_teardown(), as a checked fixture. */
#ifndef NEAP_TEST_CONTROL_FIXTURE_H
#define NEAP_TEST_CONTROL_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "server/control.h"

#define FIXTURE_HELD_MAX 64

struct fixture {
    struct loop *loop;
    struct control *control;
    char folder[64];
    char logged[1024];                              /* lines of the log */
    struct control_request *held[FIXTURE_HELD_MAX]; /* by the command hold */
    unsigned held_count;
};

extern struct fixture fixture;

/*  echo  text, number, flag    {"got": text}
 *  hold                        nothing yet
 *  fail  text                  a failure
 *  kick  id                    {"id": id} and an "ok" of its own
 *  none                        NULL */
extern const struct control_command fixture_commands[];

void fixture_setup(void);
void fixture_teardown(void);
/* control_close; teardown does it otherwise. */
void fixture_close(void);

/* Turns the loop until it is so; fails the test after a while. */
void fixture_await(bool (*is_so)(void));
/* Turns the loop until so many requests are held. */
void fixture_await_held(unsigned count);
/* Runs the loop for a while without hurrying it; how often it woke up. */
unsigned fixture_rest(unsigned ms);

/* A new socket that blocks; one that is connected; a connection of one that was made before. */
int fixture_socket(void);
int fixture_open(void);
int fixture_connect(int fd);

void fixture_put(int fd, const char *text);
void fixture_put_bytes(int fd, const char *bytes, size_t len);
/* The next line without its newline, "<end>" at the end; valid until the next call. */
const char *fixture_get(int fd);
void fixture_expect(int fd, const char *line);

/* Asks on a connection of its own, which must live on afterwards. */
void fixture_ask(const char *request, const char *answer);

/* Takes a request out of held, the last one into its place; answers it with {"got": text}. */
struct control_request *fixture_take(unsigned index);
void fixture_answer(unsigned index, const char *text);
/* {"text": "xxx..."} with a text of that length. */
json_t *fixture_long(size_t len);

#endif
