/* cli/input.c - messages out of words and descriptors. */
#include "cli/input.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/require.h"

#define ROOM (INPUT_PIECE + 1) /* a byte more shows that a message is too long */

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit = (char)(digit | 0x20);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static int append_hex(struct buf *out, const char *text)
{
    for (;;) {
        text += strspn(text, " \t\r\n");
        if (!*text)
            return 0;
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return -EINVAL;
        char byte = (char)(high << 4 | low);
        int rc = buf_append(out, &byte, 1);
        if (rc < 0)
            return rc;
        text += 2;
    }
}

static int append_text(struct input *input, const char *text, bool is_first)
{
    const struct input_shape *shape = &input->shape;
    int rc = 0;
    if (!is_first && !shape->adds_newline && !shape->is_hex)
        rc = buf_append(&input->bytes, " ", 1);
    if (rc == 0)
        rc = shape->is_hex ? append_hex(&input->bytes, text)
                           : buf_append(&input->bytes, text, strlen(text));
    if (rc == 0 && shape->adds_newline)
        rc = buf_append(&input->bytes, "\n", 1);
    return rc;
}

int input_init_texts(struct input *input, const struct input_shape *shape, char **texts,
                     int count, const char **bad)
{
    REQUIRE(count > 0);
    *input = (struct input){.shape = *shape, .fd = -1, .has_ended = true};
    input->ends = calloc((size_t)count, sizeof *input->ends);
    if (!input->ends)
        return -ENOMEM;
    for (int i = 0; i < count; i++) {
        *bad = texts[i];
        int rc = append_text(input, texts[i], i == 0);
        if (rc < 0)
            return rc;
        if (i == 0 || shape->adds_newline)
            input->count++;
        input->ends[input->count - 1] = buf_len(&input->bytes);
    }
    return 0;
}

void input_init_fd(struct input *input, const struct input_shape *shape, int fd)
{
    *input = (struct input){.shape = *shape, .fd = fd, .last_byte = -1};
}

void input_fini(struct input *input)
{
    buf_fini(&input->bytes);
    free(input->ends);
    input->ends = NULL;
}

/* What is not taken yet. */
static const char *rest(const struct input *input, size_t *len)
{
    *len = buf_len(&input->bytes) - input->taken;
    return *len ? buf_bytes(&input->bytes) + input->taken : "";
}

bool input_peek(const struct input *input, const char **bytes, size_t *len)
{
    if (input->is_done)
        return false;
    *bytes = rest(input, len);
    if (input->fd < 0) {
        *len = input->ends[input->next] - input->taken;
        return true;
    }
    if (!input->shape.is_datagrams)
        return *len > 0;
    if (!input->shape.is_split)
        return input->has_ended;
    const char *newline = memchr(*bytes, '\n', *len);
    if (newline)
        *len = (size_t)(newline - *bytes) + 1;
    return newline || (input->has_ended && *len > 0);
}

bool input_wants_input(const struct input *input)
{
    const char *bytes;
    size_t len;
    return input->fd >= 0 && !input->has_ended && !input_peek(input, &bytes, &len);
}

/* Nothing more comes: a datagram that is the whole input remains also when it is empty. */
static void end_input(struct input *input)
{
    size_t left;
    (void)rest(input, &left);
    input->has_ended = true;
    input->is_done = left == 0 && (!input->shape.is_datagrams || input->shape.is_split);
}

int input_read(struct input *input)
{
    buf_consume(&input->bytes, input->taken);
    input->taken = 0;
    input->last_taken = SIZE_MAX;
    size_t held = buf_len(&input->bytes);
    if (held >= ROOM)
        return -EMSGSIZE;
    int rc = buf_reserve(&input->bytes, ROOM - held);
    if (rc < 0)
        return rc;
    ssize_t count = read(input->fd, buf_tail(&input->bytes), ROOM - held);
    if (count < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    if (count > 0) {
        buf_commit(&input->bytes, (size_t)count);
        input->last_byte = (unsigned char)buf_tail(&input->bytes)[-1];
        return 0;
    }
    if (input->shape.adds_newline && input->last_byte >= 0 && input->last_byte != '\n')
        rc = buf_append(&input->bytes, "\n", 1);
    end_input(input);
    return rc;
}

void input_take(struct input *input, size_t len)
{
    const char *bytes;
    size_t there;
    bool has_message = input_peek(input, &bytes, &there);
    REQUIRE(has_message && len <= there);
    input->last_taken = input->taken;
    input->taken += len;
    if (len < there)
        return;
    if (input->fd < 0)
        input->is_done = ++input->next == input->count;
    else if (input->has_ended)
        input->is_done = input->taken == buf_len(&input->bytes);
}

bool input_again(struct input *input)
{
    if (input->last_taken == SIZE_MAX)
        return false;
    input->taken = input->last_taken;
    input->last_taken = SIZE_MAX;
    input->is_done = false;
    if (input->fd < 0)
        input->next--;
    return true;
}

bool input_is_done(const struct input *input)
{
    return input->is_done;
}
