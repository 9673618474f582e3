/* Reading whole files, mapping them, and writing them atomically. */
#include "loaders/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/anx_test.h"

static anx_error err;

/* A fresh folder for one test. */
static const char *folder(const char *name) {
    const char *path = anx_test_path(name);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0777), 0);
    return path;
}

static int count_entries(const char *path) {
    DIR *dir = opendir(path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) n++;
    closedir(dir);
    return n;
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void check_content(const char *path, const char *expected) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    ANX_CHECK_OK(anx_read_file(path, &bytes, &n, &err), &err);
    CU_ASSERT_EQUAL(n, strlen(expected));
    CU_ASSERT(bytes != NULL && n == strlen(expected) && memcmp(bytes, expected, n) == 0);
    free(bytes);
}

static anx_status write_text(const char *path, const char *text, bool force) {
    anx_file_writer *w = NULL;
    anx_status status = anx_file_writer_create(path, force, &w, &err);
    if (status == ANX_OK) status = anx_file_writer_write(w, text, strlen(text), &err);
    if (status == ANX_OK) status = anx_file_writer_commit(w, &err);
    anx_file_writer_destroy(w);
    return status;
}

static void the_target_appears_at_commit_alone(void) {
    char dir[512], path[600];
    snprintf(dir, sizeof dir, "%s", folder("appears"));
    snprintf(path, sizeof path, "%s/file", dir);
    anx_file_writer *w = NULL;
    ANX_CHECK_OK(anx_file_writer_create(path, false, &w, &err), &err);
    ANX_CHECK_OK(anx_file_writer_write(w, "abc", 3, &err), &err);
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
    CU_ASSERT_EQUAL(anx_file_writer_offset(w), 3);
    ANX_CHECK_OK(anx_file_writer_commit(w, &err), &err);
    anx_file_writer_destroy(w);
    check_content(path, "abc");
    CU_ASSERT_EQUAL(count_entries(dir), 1);
}

static void an_abandoned_writer_leaves_nothing(void) {
    char dir[512], path[600];
    snprintf(dir, sizeof dir, "%s", folder("abandoned"));
    snprintf(path, sizeof path, "%s/file", dir);
    put(path, "old");
    anx_file_writer *w = NULL;
    ANX_CHECK_OK(anx_file_writer_create(path, true, &w, &err), &err);
    ANX_CHECK_OK(anx_file_writer_write(w, "new", 3, &err), &err);
    CU_ASSERT_EQUAL(count_entries(dir), 2);
    anx_file_writer_destroy(w);
    check_content(path, "old");
    CU_ASSERT_EQUAL(count_entries(dir), 1);
}

static void an_existing_file_is_replaced_only_when_forced(void) {
    const char *path = anx_test_path("existing");
    put(path, "old");
    ANX_CHECK_STATUS(ANX_ERR_EXISTS, write_text(path, "new", false), &err);
    ANX_CHECK_MESSAGE("existing: exists already and is not overwritten unless forced", &err);
    check_content(path, "old");
    ANX_CHECK_OK(write_text(path, "new", true), &err);
    check_content(path, "new");
}

static void a_target_that_appears_meanwhile_is_kept(void) {
    char dir[512], path[600];
    snprintf(dir, sizeof dir, "%s", folder("meanwhile"));
    snprintf(path, sizeof path, "%s/file", dir);
    anx_file_writer *w = NULL;
    ANX_CHECK_OK(anx_file_writer_create(path, false, &w, &err), &err);
    put(path, "theirs");
    ANX_CHECK_STATUS(ANX_ERR_EXISTS, anx_file_writer_commit(w, &err), &err);
    anx_file_writer_destroy(w);
    check_content(path, "theirs");
    CU_ASSERT_EQUAL(count_entries(dir), 1);
}

static void large_and_small_writes_keep_their_order(void) {
    const char *path = anx_test_path("order");
    enum { total = 1000003 };
    uint8_t *data = malloc(total);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    for (size_t i = 0; i < total; i++) data[i] = (uint8_t)(i * 2654435761u >> 13);
    anx_file_writer *w = NULL;
    ANX_CHECK_OK(anx_file_writer_create(path, false, &w, &err), &err);
    static const size_t sizes[] = {1, 65535, 65536, 65537, 0, 7, 200000, 3};
    size_t at = 0;
    for (size_t i = 0; at < total; i++) {
        size_t n = sizes[i % 8] < total - at ? sizes[i % 8] : total - at;
        ANX_CHECK_OK(anx_file_writer_write(w, data + at, n, &err), &err);
        at += n;
        CU_ASSERT_EQUAL(anx_file_writer_offset(w), at);
    }
    ANX_CHECK_OK(anx_file_writer_commit(w, &err), &err);
    anx_file_writer_destroy(w);
    uint8_t *back = NULL;
    size_t n = 0;
    ANX_CHECK_OK(anx_read_file(path, &back, &n, &err), &err);
    CU_ASSERT(n == total && memcmp(back, data, total) == 0);
    free(back);
    anx_file_map map = ANX_FILE_MAP_INIT;
    ANX_CHECK_OK(anx_file_map_init(&map, path, &err), &err);
    CU_ASSERT(map.n_bytes == total && memcmp(map.bytes, data, total) == 0);
    anx_file_map_fini(&map);
    free(data);
}

static void permissions_are_what_the_umask_leaves(void) {
    const char *path = anx_test_path("mode");
    mode_t before = umask(027);
    ANX_CHECK_OK(write_text(path, "x", false), &err);
    umask(before);
    struct stat st;
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0640);
}

static void a_link_is_kept_and_its_file_replaced(void) {
    char file[512], link_path[512];
    snprintf(file, sizeof file, "%s", anx_test_path("linked"));
    snprintf(link_path, sizeof link_path, "%s", anx_test_path("link"));
    put(file, "old");
    CU_ASSERT_EQUAL_FATAL(symlink("linked", link_path), 0);
    ANX_CHECK_OK(write_text(link_path, "new", true), &err);
    check_content(file, "new");
    struct stat st;
    CU_ASSERT(lstat(link_path, &st) == 0 && S_ISLNK(st.st_mode));
}

static void a_device_is_written_not_replaced(void) {
    ANX_CHECK_OK(write_text("/dev/null", "x", true), &err);
    ANX_CHECK_OK(write_text("/dev/null", "x", false), &err);
    struct stat st;
    CU_ASSERT(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    if (access("/dev/full", W_OK) == 0) {
        ANX_CHECK_STATUS(ANX_ERR_IO, write_text("/dev/full", "x", false), &err);
        ANX_CHECK_MESSAGE("/dev/full: cannot write: No space left on device", &err);
    }
}

static void names_that_cannot_be_written_are_refused(void) {
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, write_text("", "x", false), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, write_text(anx_test_tmpdir(), "x", true), &err);
    ANX_CHECK_MESSAGE("a folder; a file name to write to was expected", &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, write_text(anx_test_path("no/such/folder"), "x", false), &err);
    ANX_CHECK_MESSAGE("cannot create a file in its folder: No such file or directory", &err);
    /* The longest name a file system takes leaves the temporary one room. */
    char longest[256];
    memset(longest, 'n', 255);
    longest[255] = '\0';
    ANX_CHECK_OK(write_text(anx_test_path(longest), "x", false), &err);
    check_content(anx_test_path(longest), "x");
}

static void what_is_not_a_regular_file_is_not_read(void) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    anx_file_map map = ANX_FILE_MAP_INIT;
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_read_file(anx_test_path("none"), &bytes, &n, &err), &err);
    ANX_CHECK_MESSAGE("none: cannot open: No such file or directory", &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_file_map_init(&map, anx_test_path("none"), &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_read_file(anx_test_tmpdir(), &bytes, &n, &err), &err);
    ANX_CHECK_MESSAGE("a folder, not a file", &err);
    const char *fifo = anx_test_path("fifo");
    CU_ASSERT_EQUAL_FATAL(mkfifo(fifo, 0600), 0);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_file_map_init(&map, fifo, &err), &err);
    ANX_CHECK_MESSAGE("fifo: not a regular file", &err);
    CU_ASSERT_PTR_NULL(bytes);
    CU_ASSERT_PTR_NULL(map.bytes);
}

static void an_empty_file_reads_and_maps_as_empty(void) {
    const char *path = anx_test_path("empty");
    put(path, "");
    check_content(path, "");
    anx_file_map map = ANX_FILE_MAP_INIT;
    ANX_CHECK_OK(anx_file_map_init(&map, path, &err), &err);
    CU_ASSERT_EQUAL(map.n_bytes, 0);
    anx_file_map_fini(&map);
    anx_file_map_fini(NULL);
    anx_file_writer_destroy(NULL);
}

static void a_file_that_cannot_fit_is_refused_at_once(void) {
    const char *path = folder("room");
    char target[4096];
    snprintf(target, sizeof target, "%s/file", path);
    anx_file_writer *w = NULL;
    ANX_CHECK_OK(anx_file_writer_create(target, false, &w, &err), &err);
    ANX_CHECK_OK(anx_file_writer_expect(w, 0, &err), &err);
    ANX_CHECK_OK(anx_file_writer_expect(w, 100, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_IO, anx_file_writer_expect(w, UINT64_MAX, &err), &err);
    ANX_CHECK_MESSAGE("file: needs 18446744073709551615 bytes, and ", &err);
    ANX_CHECK_MESSAGE(" are free on its file system", &err);
    anx_file_writer_destroy(w);
    CU_ASSERT_EQUAL(count_entries(path), 0);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"the_target_appears_at_commit_alone", the_target_appears_at_commit_alone},
        {"an_abandoned_writer_leaves_nothing", an_abandoned_writer_leaves_nothing},
        {"an_existing_file_is_replaced_only_when_forced", an_existing_file_is_replaced_only_when_forced},
        {"a_target_that_appears_meanwhile_is_kept", a_target_that_appears_meanwhile_is_kept},
        {"large_and_small_writes_keep_their_order", large_and_small_writes_keep_their_order},
        {"permissions_are_what_the_umask_leaves", permissions_are_what_the_umask_leaves},
        {"a_link_is_kept_and_its_file_replaced", a_link_is_kept_and_its_file_replaced},
        {"a_device_is_written_not_replaced", a_device_is_written_not_replaced},
        {"a_file_that_cannot_fit_is_refused_at_once", a_file_that_cannot_fit_is_refused_at_once},
        {"names_that_cannot_be_written_are_refused", names_that_cannot_be_written_are_refused},
        {"what_is_not_a_regular_file_is_not_read", what_is_not_a_regular_file_is_not_read},
        {"an_empty_file_reads_and_maps_as_empty", an_empty_file_reads_and_maps_as_empty},
        {NULL, NULL},
    };
    return anx_test_main("file", tests, argc, argv);
}
