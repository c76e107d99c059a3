/* server/watch.c - inotify on the folders of some files, and on all links that lead there.
 *
 * Everything follows from one walk along a path, name by name, from real folder to real folder:
 *
 *     the name is        watched                           then
 *     a folder           itself: does it move, go away     into it
 *     a symbolic link    by name in its folder             to its target, and on from there
 *     the last one       by name in its folder             the end
 *     not there          by name in its folder; and all    the end
 *                        folders above, by name too
 *
 * A change makes the walk worth repeating, for any name on it may mean something else now. It
 * is repeated when all has been quiet, just before the change is told. */
#include "server/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wheel.h"
#include "net/loop.h"

#define FOLDER_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF)

/* IN_ATTRIB: a file that could not be read may be readable now. */
#define NAME_EVENTS                                                                        \
    (FOLDER_EVENTS | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE |      \
     IN_MOVED_FROM | IN_MOVED_TO)

#define SPOTS_MAX 16384U
#define LINKS_MAX 40U /* as the kernel */
#define WALKS_MAX 8   /* of one path, while others move folders about */
#define READS_MAX 16  /* of the descriptor, before others have their turn */
#define EVENTS_LEN 4096U

_Static_assert(EVENTS_LEN >= sizeof(struct inotify_event) + NAME_MAX + 1, "one fits");

struct spot {
    int folder; /* as inotify numbers it; a number is not used again */
    char *name; /* NULL: the folder itself */
};

struct spots {
    struct spot *all;
    size_t count, capacity;
};

struct paths {
    char **all;
    size_t count;
};

struct watch {
    struct loop *loop;
    struct wheel *wheel;
    watch_fn fn;
    void *owner;
    int fd;
    struct loop_io io;
    struct wheel_timer quiet;
    bool pending;      /* a change is not told yet ... */
    uint64_t since_ms; /* ... since then */
    struct paths paths;
    struct spots now;  /* what is watched */
    struct spots next; /* while it is replaced: what will be */
};

enum change { CHANGE_NONE, CHANGE_GOES_ON, CHANGE_MADE };

/* ---- Spots ---- */

static bool has_folder(const struct spots *spots, int folder)
{
    for (size_t i = 0; i < spots->count; i++)
        if (spots->all[i].folder == folder)
            return true;
    return false;
}

/* `name` NULL: the folder itself. */
static bool has_spot(const struct spots *spots, int folder, const char *name)
{
    for (size_t i = 0; i < spots->count; i++) {
        const struct spot *spot = &spots->all[i];
        if (spot->folder != folder || !spot->name != !name)
            continue;
        if (!name || strcmp(spot->name, name) == 0)
            return true;
    }
    return false;
}

static int reserve_spot(struct spots *spots)
{
    if (spots->count < spots->capacity)
        return 0;
    if (spots->count >= SPOTS_MAX)
        return -E2BIG;
    size_t capacity = spots->capacity ? spots->capacity * 2 : 16;
    struct spot *all = realloc(spots->all, capacity * sizeof *all);
    if (!all)
        return -ENOMEM;
    spots->all = all;
    spots->capacity = capacity;
    return 0;
}

/* Memory comes first: once the kernel watches a folder, nothing may keep it from being known. */
static int add_spot(struct watch *watch, const char *path, const char *name)
{
    int failed = reserve_spot(&watch->next);
    if (failed)
        return failed;
    char *copy = name ? strdup(name) : NULL;
    if (name && !copy)
        return -ENOMEM;
    /* A mask only grows, so that the folder of one path may lie on the way of another. What it
     * tells too much is about no spot. */
    uint32_t events = name ? NAME_EVENTS : FOLDER_EVENTS | IN_DONT_FOLLOW;
    int folder = inotify_add_watch(watch->fd, path, events | IN_ONLYDIR | IN_MASK_ADD);
    if (folder < 0 || has_spot(&watch->next, folder, name)) {
        failed = folder < 0 ? -errno : 0;
        free(copy);
        return failed;
    }
    watch->next.all[watch->next.count++] = (struct spot){folder, copy};
    return 0;
}

/* Frees spots, and tells the kernel of folders that are not among those that stay. It does not
 * know a folder that is gone, or that it was told of already; that is fine. */
static void drop_spots(struct watch *watch, struct spots *spots, const struct spots *stay)
{
    for (size_t i = 0; i < spots->count; i++) {
        if (!has_folder(stay, spots->all[i].folder))
            (void)inotify_rm_watch(watch->fd, spots->all[i].folder);
        free(spots->all[i].name);
    }
    free(spots->all);
    *spots = (struct spots){0};
}

/* ---- The walk along a path ---- */

enum step { STEP_MISSING, STEP_FOUND, STEP_ON };

struct walk {
    char done[PATH_MAX]; /* real folders, each with its '/'; "": the working directory */
    char rest[PATH_MAX];
    char name[NAME_MAX + 1]; /* between the two */
    bool by_name;            /* watch folders also by their names */
    unsigned links;
};

enum thing { THING_NONE, THING_FILE, THING_FOLDER, THING_LINK };

static enum thing look_at(const char *path)
{
    struct stat found;
    if (lstat(path, &found) < 0)
        return THING_NONE;
    if (S_ISDIR(found.st_mode))
        return THING_FOLDER;
    return S_ISLNK(found.st_mode) ? THING_LINK : THING_FILE;
}

/* 1: there was one; 0: there is none left; or -errno. */
static int take_name(struct walk *walk)
{
    const char *at = walk->rest + strspn(walk->rest, "/");
    size_t len = strcspn(at, "/");
    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(walk->name, at, len);
    walk->name[len] = '\0';
    at += len;
    at += strspn(at, "/");
    memmove(walk->rest, at, strlen(at) + 1);
    return len > 0;
}

static int go_into(struct walk *walk)
{
    size_t len = strlen(walk->done), room = sizeof walk->done - len;
    int added = snprintf(walk->done + len, room, "%s/", walk->name);
    return (size_t)added < room ? STEP_ON : -ENAMETOOLONG;
}

static int follow_link(struct walk *walk, const char *path)
{
    char target[PATH_MAX], rest[PATH_MAX];
    if (++walk->links > LINKS_MAX)
        return STEP_MISSING;
    ssize_t len = readlink(path, target, sizeof target - 1);
    if (len < 0)
        return -ENOENT; /* it was a link a moment ago */
    target[len] = '\0';
    int joined = snprintf(rest, sizeof rest, "%s/%s", target, walk->rest);
    if ((size_t)joined >= sizeof rest)
        return -ENAMETOOLONG;
    memcpy(walk->rest, rest, (size_t)joined + 1);
    if (target[0] == '/')
        memcpy(walk->done, "/", 2);
    return STEP_ON;
}

/* A folder on the way that may not be listed is passed over: most often it is one of the
 * system's, and stays where it is. */
static int watch_passing(struct watch *watch, const char *path, const char *name)
{
    int failed = add_spot(watch, path, name);
    return failed == -EACCES ? 0 : failed;
}

/* What a path is, with what has to be watched so that it stays true: first watched, then looked
 * at for good. A folder is known for one by being watched: add_spot fails when it is no more. */
static int watch_name(struct watch *watch, struct walk *walk, const char *path,
                      enum thing *thing)
{
    const char *folder = *walk->done ? walk->done : ".";
    bool last = !*walk->rest;
    *thing = look_at(path);
    if (last || *thing != THING_FOLDER) {
        int failed = add_spot(watch, folder, walk->name);
        *thing = look_at(path);
        if (failed || last || *thing != THING_FOLDER)
            return failed;
    }
    int failed = walk->by_name ? watch_passing(watch, folder, walk->name) : 0;
    return failed ? failed : watch_passing(watch, path, NULL);
}

static int walk_name(struct watch *watch, struct walk *walk)
{
    char path[PATH_MAX];
    bool last = !*walk->rest;
    enum thing thing;
    if (strcmp(walk->name, "..") == 0)
        return go_into(walk);
    int len = snprintf(path, sizeof path, "%s%s", walk->done, walk->name);
    if ((size_t)len >= sizeof path)
        return -ENAMETOOLONG;
    int failed = watch_name(watch, walk, path, &thing);
    if (failed)
        return failed;
    switch (thing) {
    case THING_LINK:
        return follow_link(walk, path);
    case THING_FOLDER:
        return last ? STEP_FOUND : go_into(walk);
    case THING_FILE:
        return last ? STEP_FOUND : STEP_MISSING;
    case THING_NONE:
        break;
    }
    return STEP_MISSING;
}

/* An enum step, but never STEP_ON, or -errno: -ENOENT and -ENOTDIR when a folder was moved away
 * under the walk. */
static int walk_path(struct watch *watch, const char *path, bool by_name)
{
    struct walk walk = {.by_name = by_name};
    size_t len = strlen(path);
    if (len >= sizeof walk.rest)
        return -ENAMETOOLONG;
    memcpy(walk.rest, path, len + 1);
    if (path[0] == '/')
        walk.done[0] = '/';
    int step = STEP_ON;
    while (step == STEP_ON) {
        int taken = take_name(&walk);
        if (taken <= 0)
            return taken < 0 ? taken : STEP_FOUND;
        step = walk_name(watch, &walk);
    }
    return step;
}

/* Where something is missing, its folder may be next to go, and if anybody holds that open it
 * goes without an event of its own: hence the second walk, which watches folders by name. */
static int add_path(struct watch *watch, const char *path)
{
    bool by_name = false;
    int step = -ENOENT;
    for (int i = 0; i < WALKS_MAX; i++) {
        step = walk_path(watch, path, by_name);
        if (step == STEP_FOUND || (step == STEP_MISSING && by_name))
            return 0;
        if (step < 0 && step != -ENOENT && step != -ENOTDIR)
            return step;
        by_name |= step == STEP_MISSING;
    }
    return step < 0 ? step : 0;
}

/* ---- Changes ---- */

static void note_change(struct watch *watch, enum change change)
{
    /* To be written to is no change yet: most writers say when they are done. */
    if (change == CHANGE_NONE || (change == CHANGE_GOES_ON && !watch->pending))
        return;
    loop_update_now(watch->loop);
    uint64_t now_ms = loop_now_ms(watch->loop);
    if (!watch->pending)
        watch->since_ms = now_ms;
    watch->pending = true;
    uint64_t quiet_ms = now_ms + WATCH_QUIET_MS;
    uint64_t last_ms = watch->since_ms + WATCH_PATIENCE_MS;
    wheel_start(watch->wheel, &watch->quiet, quiet_ms < last_ms ? quiet_ms : last_ms);
}

static enum change change_of(const struct watch *watch, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW)
        return CHANGE_MADE;
    const char *name = event->len ? event->name : NULL;
    if (!name && !(event->mask & (FOLDER_EVENTS | IN_IGNORED | IN_UNMOUNT)))
        return CHANGE_NONE;
    bool watched =
        name ? has_spot(&watch->now, event->wd, name) ||
                   has_spot(&watch->next, event->wd, name)
             : has_folder(&watch->now, event->wd) || has_folder(&watch->next, event->wd);
    if (!watched)
        return CHANGE_NONE;
    return event->mask & IN_MODIFY ? CHANGE_GOES_ON : CHANGE_MADE;
}

/* True when all was read. */
static bool read_events(struct watch *watch)
{
    _Alignas(struct inotify_event) char bytes[EVENTS_LEN];
    enum change most = CHANGE_NONE;
    ssize_t len = 0;
    for (int i = 0; i < READS_MAX; i++) {
        len = read(watch->fd, bytes, sizeof bytes);
        if (len <= 0)
            break;
        for (const char *at = bytes; at < bytes + len;) {
            const struct inotify_event *event = (const void *)at;
            enum change change = change_of(watch, event);
            most = change > most ? change : most;
            at += sizeof *event + event->len;
        }
    }
    note_change(watch, most);
    return len <= 0;
}

static void on_readable(struct loop_io *io, unsigned events)
{
    (void)events;
    (void)read_events(container_of(io, struct watch, io));
}

/* Walks along all paths anew. What happened until then is read while both sets are known: an
 * event about a folder that is not watched any more would else mean nothing. */
static int walk_all(struct watch *watch, const struct paths *paths)
{
    int failed = 0;
    for (size_t i = 0; i < paths->count && !failed; i++)
        failed = add_path(watch, paths->all[i]);
    if (failed) {
        drop_spots(watch, &watch->next, &watch->now);
        return failed;
    }
    if (!read_events(watch))
        note_change(watch, CHANGE_MADE);
    drop_spots(watch, &watch->now, &watch->next);
    watch->now = watch->next;
    watch->next = (struct spots){0};
    return 0;
}

static void on_quiet(struct wheel_timer *timer)
{
    struct watch *watch = container_of(timer, struct watch, quiet);
    int failed = walk_all(watch, &watch->paths);
    /* It was not quiet after all; the loop had not come to read it. */
    if (wheel_timer_is_started(timer) && timer->deadline_ms > loop_now_ms(watch->loop))
        return;
    wheel_stop(watch->wheel, timer);
    watch->pending = false;
    watch->fn(watch->owner, failed);
}

/* ---- Life ---- */

static void free_paths(struct paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        free(paths->all[i]);
    free(paths->all);
    *paths = (struct paths){0};
}

static int copy_paths(struct paths *copy, const char *const *paths, size_t count)
{
    *copy = (struct paths){.all = calloc(count + 1, sizeof *copy->all)};
    if (!copy->all)
        return -ENOMEM;
    for (; copy->count < count; copy->count++) {
        copy->all[copy->count] = strdup(paths[copy->count]);
        if (!copy->all[copy->count]) {
            free_paths(copy);
            return -ENOMEM;
        }
    }
    return 0;
}

int watch_open(struct watch **watch, struct loop *loop, struct wheel *wheel, watch_fn fn,
               void *owner)
{
    struct watch *opened = calloc(1, sizeof *opened);
    if (!opened)
        return -ENOMEM;
    opened->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (opened->fd < 0) {
        int failed = -errno;
        free(opened);
        return failed;
    }
    opened->loop = loop;
    opened->wheel = wheel;
    opened->fn = fn;
    opened->owner = owner;
    wheel_timer_init(&opened->quiet, on_quiet);
    loop_io_init(&opened->io, opened->fd, on_readable);
    loop_io_watch(loop, &opened->io, LOOP_READ);
    *watch = opened;
    return 0;
}

int watch_set(struct watch *watch, const char *const *paths, size_t count)
{
    struct paths copy;
    if (count > WATCH_PATHS_MAX)
        return -E2BIG;
    int failed = copy_paths(&copy, paths, count);
    if (failed)
        return failed;
    failed = walk_all(watch, &copy);
    if (failed) {
        free_paths(&copy);
        return failed;
    }
    free_paths(&watch->paths);
    watch->paths = copy;
    return 0;
}

void watch_look(struct watch *watch)
{
    note_change(watch, CHANGE_MADE);
}

void watch_close(struct watch *watch)
{
    if (!watch)
        return;
    wheel_stop(watch->wheel, &watch->quiet);
    loop_io_watch(watch->loop, &watch->io, LOOP_NONE);
    drop_spots(watch, &watch->now, &watch->next);
    free_paths(&watch->paths);
    close(watch->fd);
    free(watch);
}
