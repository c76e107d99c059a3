/* tests/fuzz/replay.c - runs a fuzz target over its corpus, where there is no libFuzzer.
 *
 *     fuzz_NAME FILE|DIRECTORY...
 *
 * What:   one call for each file, in the order of their names, and one without any bytes. The
 *         bytes lie in a block of exactly their length, so that a sanitizer sees a read past it.
 * Errors: status 1 when a file cannot be read or there was none: nothing replayed is no pass. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int replay_file(const char *path)
{
    struct stat about;
    FILE *file = fopen(path, "rbe");
    if (!file || fstat(fileno(file), &about) != 0) {
        perror(path);
        if (file) {
            (void)fclose(file);
        }
        return -1;
    }
    size_t len = (size_t)about.st_size;
    uint8_t *bytes = malloc(len ? len : 1);
    int status = -1;
    if (!bytes || fread(bytes, 1, len, file) != len) {
        perror(path);
    } else {
        /* Before the call: when it crashes, this is the line that says on what. */
        printf("%s\n", path);
        (void)fflush(stdout);
        (void)LLVMFuzzerTestOneInput(bytes, len);
        status = 0;
    }
    free(bytes);
    (void)fclose(file);
    return status;
}

/* Returns how many files were replayed, or -1. */
static int replay_directory(const char *path)
{
    struct dirent **entries;
    int found = scandir(path, &entries, NULL, alphasort);
    if (found < 0) {
        perror(path);
        return -1;
    }
    int count = 0;
    for (int i = 0; i < found; i++) {
        char file[4096];
        (void)snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (count >= 0 && entries[i]->d_name[0] != '.') {
            count = replay_file(file) == 0 ? count + 1 : -1;
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct stat about;
        int count = 1;
        if (stat(argv[i], &about) == 0 && S_ISDIR(about.st_mode)) {
            count = replay_directory(argv[i]);
        } else if (replay_file(argv[i]) != 0) {
            count = -1;
        }
        if (count < 0) {
            return EXIT_FAILURE;
        }
        total += count;
    }
    printf("%d replayed\n", total);
    return total ? EXIT_SUCCESS : EXIT_FAILURE;
}
