/* Tars read in place: what writers make, in every format, and what nobody should. */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/dataset/tree.h"
#include "tests/support/test_tar.h"

/* Writes the tar, finished, into the folder; empties it. */
static const char *save(test_tar *tar, const char *root, const char *name) {
    test_tar_finish(tar);
    tree_put(root, name, tar->bytes, tar->n_bytes);
    test_tar_fini(tar);
    return tree_path(root, name);
}

/* libarchive's own writer: files that hold their names, of which one is long. */
static void write_tar(const char *path, void (*format)(struct archive *), const char *const *names) {
    struct archive *a = archive_write_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    format(a);
    CU_ASSERT_EQUAL_FATAL(archive_write_open_filename(a, path), ARCHIVE_OK);
    for (; *names != NULL; names++) {
        const char *content = strncmp(*names, "./", 2) == 0 ? *names + 2 : *names;
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, *names);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_size(entry, (la_int64_t)strlen(content));
        archive_entry_set_mtime(entry, 1, 5); /* a fraction: pax needs a header for it */
        CU_ASSERT(archive_write_header(a, entry) >= ARCHIVE_WARN);
        CU_ASSERT_EQUAL(archive_write_data(a, content, strlen(content)), (la_ssize_t)strlen(content));
        archive_entry_free(entry);
    }
    CU_ASSERT_EQUAL(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
}

static void v7(struct archive *a) {
    archive_write_set_format_v7tar(a);
}
static void ustar(struct archive *a) {
    archive_write_set_format_ustar(a);
}
static void gnu(struct archive *a) {
    archive_write_set_format_gnutar(a);
}
static void pax(struct archive *a) {
    archive_write_set_format_pax(a);
}

#define HUNDRED "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

static void formats_are_read_in_place(void) {
    static const struct {
        const char *name;
        void (*format)(struct archive *);
        bool long_names;
    } cases[] = {{"v7.tar", v7, false}, {"ustar.tar", ustar, false}, {"gnu.tar", gnu, true}, {"pax.tar", pax, true}};
    const char *root = tree_folder("formats");
    tree_text(root, "val.txt", "a.JPEG 0\nb.JPEG 1\ncaf\xc3\xa9.JPEG 2\n" HUNDRED HUNDRED ".JPEG 3\n");
    tree_text(root, "short.txt", "a.JPEG 0\nb.JPEG 1\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = tree_path(root, cases[i].name);
        if (cases[i].long_names) {
            write_tar(path, cases[i].format,
                      (const char *const[]){HUNDRED "/" HUNDRED HUNDRED ".JPEG", "./b.JPEG", "a.JPEG",
                                            "caf\xc3\xa9.JPEG", NULL});
            anx_dataset *d =
                tree_open(path, five(NULL, NULL),
                          "0 a.JPEG\n1 b.JPEG\n2 caf\xc3\xa9.JPEG\n3 " HUNDRED "/" HUNDRED HUNDRED ".JPEG\n");
            if (d != NULL) CU_ASSERT_STRING_EQUAL(d->layout, "tar with Caffe's val.txt");
            anx_dataset_close(d);
        } else {
            write_tar(path, cases[i].format, (const char *const[]){"b.JPEG", "a.JPEG", NULL});
            tree_check(path, five(tree_path(root, "short.txt"), NULL), "tar with Caffe's val.txt",
                       "0 a.JPEG\n1 b.JPEG\n");
        }
    }
}

static void each_list_of_labels_serves_a_tar(void) {
    const char *root = tree_folder("lists");
    static const char expected[] = "2 ILSVRC2012_val_00000001.JPEG\n0 ILSVRC2012_val_00000002.JPEG\n";
    test_tar tar;
    test_tar_init(&tar);
    test_tar_file(&tar, "ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000002.JPEG");
    test_tar_file(&tar, "._ILSVRC2012_val_00000002.JPEG", "resource fork");
    test_tar_file(&tar, "ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000001.JPEG");
    const char *path = save(&tar, root, "ILSVRC2012_img_val.tar");
    tree_refused(path, five(NULL, NULL), ANX_ERR_NOT_FOUND,
                 "$: images, but neither folders of classes nor a label file (LOC_val_solution.csv, "
                 "ILSVRC2012_validation_ground_truth.txt, val.txt) in it or beside it; name one with --labels");
    tree_text(root, "ILSVRC2012_validation_ground_truth.txt", "1\n2\n");
    tree_text(root, "synsets", "n00000030\nn00000010\nn00000050\nn00000020\nn00000040\n");
    tree_check(path, five(NULL, tree_path(root, "synsets")), "tar with the devkit's ground truth", expected);
    tree_text(root, "LOC_val_solution.csv",
              "ImageId,PredictionString\nILSVRC2012_val_00000001,n00000030 1\nILSVRC2012_val_00000002,n00000010 2\n");
    tree_check(path, five(NULL, NULL), "tar with Kaggle's LOC_val_solution.csv", expected);
    tree_text(root, "given", "val/ILSVRC2012_val_00000001.JPEG 2\nval/ILSVRC2012_val_00000002.JPEG 0\n");
    tree_check(path, five(tree_path(root, "given"), NULL), "tar with Caffe's val.txt", expected);
}

static void folders_in_a_tar_are_classes(void) {
    const char *root = tree_folder("in-tar");
    test_tar tar;
    test_tar_init(&tar);
    test_tar_header(&tar, "./", '5', NULL, 0);
    test_tar_header(&tar, "./val/", '5', NULL, 0);
    test_tar_file(&tar, "./val/n00000030/b.JPEG", "b.JPEG");
    test_tar_header(&tar, "./val/n00000030/", '5', NULL, 0);
    test_tar_file(&tar, "./val/n00000010/x/a.JPEG", "a.JPEG");
    test_tar_file(&tar, "README.txt", "not an image");
    test_tar_header(&tar, "./val/latest", '2', "n00000030", 0);
    const char *path = save(&tar, root, "wnids.tar");
    anx_dataset *d = tree_open(path, five(NULL, NULL), "0 val/n00000010/x/a.JPEG\n2 val/n00000030/b.JPEG\n");
    if (d != NULL) {
        CU_ASSERT_STRING_EQUAL(d->layout, "wnid folders in a tar");
        tree_note(d, "1 links and other entries");
    }
    anx_dataset_close(d);
    test_tar_init(&tar);
    test_tar_file(&tar, "cat/1.jpg", "1.jpg");
    test_tar_file(&tar, "ant/1.jpg", "1.jpg");
    test_tar_header(&tar, "bee", '5', NULL, 0);
    path = save(&tar, root, "classes.tar");
    tree_refused(path, unnamed(3), ANX_ERR_MISMATCH,
                 "$: folder 'bee': no image in it\nImages are files whose names end in .jpg, .jpeg, .png, .ppm, .bmp, "
                 ".pgm, .tif, .tiff, .webp, in any case.");
}

static void links_and_odd_entries_are_named(void) {
    const char *root = tree_folder("odd");
    tree_text(root, "val.txt", "a.jpg 0\n..d.jpg 1\n");
    test_tar tar;
    test_tar_init(&tar);
    test_tar_file(&tar, "a.jpg", "a.jpg");
    test_tar_header(&tar, "hard.jpg", '1', "a.jpg", 0);
    test_tar_header(&tar, "soft.jpg", '2', "a.jpg", 0);
    test_tar_header(&tar, "pipe.jpg", '6', NULL, 0);
    test_tar_header(&tar, "other", '6', NULL, 0);
    test_tar_file(&tar, "/etc/b.jpg", "b.jpg");
    test_tar_file(&tar, "x/../../c.jpg", "c.jpg");
    test_tar_file(&tar, "./a.jpg", "a.jpg");
    test_tar_file(&tar, "..d.jpg", "..d.jpg");
    const char *path = save(&tar, root, "odd.tar");
    char message[2000];
    snprintf(message, sizeof message,
             "%s: 9 things do not fit, in it or in $:\n"
             "  'hard.jpg': a hard link to another entry; unpack the archive\n"
             "  'soft.jpg': a symbolic link; unpack the archive\n"
             "  'pipe.jpg': neither a file nor a folder\n"
             "  '/etc/b.jpg': an absolute path; such an archive is not trusted\n"
             "  'x/../../c.jpg': a path that climbs with '..'; such an archive is not trusted\n"
             "  'a.jpg': twice in the archive\n"
             "  line 1: several files are called 'a.jpg'\n"
             "  'a.jpg' has no label\n"
             "  'a.jpg' has no label",
             tree_path(root, "val.txt"));
    tree_refused(path, five(NULL, NULL), ANX_ERR_MISMATCH, message);
}

static void sparse_files_are_refused(void) {
    const char *root = tree_folder("sparse");
    tree_text(root, "val.txt", "a.jpg 0\n");
    static const char *const versions[] = {"--format=gnu", "--format=pax --sparse-version=0.0",
                                           "--format=pax --sparse-version=0.1", "--format=pax --sparse-version=1.0"};
    static const struct {
        off_t data, size;
    } shapes[] = {{0, 1 << 20}, {1 << 19, 1 << 20}, {(1 << 20) - 4, 1 << 20}, {1 << 16, (1 << 16) + 100}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        tree_text(root, "a.jpg", "");
        const int fd = open(tree_path(root, "a.jpg"), O_WRONLY);
        CU_ASSERT_FATAL(fd >= 0);
        CU_ASSERT_EQUAL_FATAL(ftruncate(fd, shapes[s].size), 0);
        CU_ASSERT_EQUAL_FATAL(pwrite(fd, "data", 4, shapes[s].data), 4);
        close(fd);
        for (size_t v = 0; v < sizeof versions / sizeof versions[0]; v++) {
            char command[2048];
            snprintf(command, sizeof command, "cd '%s' && tar -S --hole-detection=raw %s -cf s.tar a.jpg", root,
                     versions[v]);
            CU_ASSERT_EQUAL_FATAL(system(command), 0);
            const anx_dataset_options options = five(NULL, NULL);
            anx_dataset *d = NULL;
            ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_dataset_open(tree_path(root, "s.tar"), &options, &d, &err), &err);
            CU_ASSERT(strstr(err.message, "'a.jpg': a sparse file; unpack the archive") != NULL ||
                      strstr(err.message, "'a.jpg': not stored whole; unpack the archive") != NULL);
            anx_dataset_close(d);
        }
    }
}

static void what_is_cut_or_lies_about_sizes_is_refused(void) {
    const char *root = tree_folder("cut");
    tree_text(root, "val.txt", "a.jpg 0\nb.jpg 1\n");
    test_tar tar;
    test_tar_init(&tar);
    test_tar_file(&tar, "a.jpg", "a.jpg");
    const size_t b = test_tar_header(&tar, "b.jpg", '0', NULL, 5000);
    char data[5000];
    memset(data, 'b', sizeof data);
    test_tar_data(&tar, data, sizeof data);
    const char *path = save(&tar, root, "whole.tar");
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_OK(anx_dataset_open(path, &options, &d, &err), &err);
    anx_dataset_close(d);
    uint8_t bytes[8192];
    FILE *f = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    for (size_t cut = 1; cut < n; cut += cut < 1100 ? 1 : 97) {
        d = NULL;
        tree_put(root, "cut.tar", bytes, cut);
        const anx_status status = anx_dataset_open(tree_path(root, "cut.tar"), &options, &d, &err);
        const bool all_there = cut >= b + 512 + 5000;
        if (status == ANX_OK) CU_ASSERT(all_there);
        if (status != ANX_OK) CU_ASSERT(err.message[0] != '\0' && d == NULL);
        anx_dataset_close(d);
    }
    tree_put(root, "cut.tar", bytes, b + 2000);
    char message[1000];
    snprintf(message, sizeof message,
             "%s: 2 things do not fit, in it or in $:\n"
             "  'b.jpg': its 5000 bytes go beyond the end of the archive, which has 3024 bytes\n"
             "  line 2: 'b.jpg' is not there\n"
             "Is the archive complete? Compare its size with the original's.",
             tree_path(root, "val.txt"));
    tree_refused(tree_path(root, "cut.tar"), five(NULL, NULL), ANX_ERR_MISMATCH, message);
    d = NULL;
    /* A size of 2^62, in the header and in pax. */
    test_tar_init(&tar);
    test_tar_file(&tar, "a.jpg", "a.jpg");
    test_tar_pax(&tar, "size", "4611686018427387904");
    test_tar_file(&tar, "b.jpg", "b.jpg");
    path = save(&tar, root, "huge.tar");
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_dataset_open(path, &options, &d, &err), &err);
    ANX_CHECK_MESSAGE("'b.jpg': its 4611686018427387904 bytes go beyond the end of the archive", &err);
    test_tar_init(&tar);
    test_tar_file(&tar, "a.jpg", "a.jpg");
    const size_t at = test_tar_header(&tar, "b.jpg", '0', NULL, 0);
    memset(tar.bytes + at + 124, 0xff, 12); /* -1 in base 256 */
    test_tar_seal(&tar, at);
    path = save(&tar, root, "negative.tar");
    CU_ASSERT_NOT_EQUAL(anx_dataset_open(path, &options, &d, &err), ANX_OK);
    CU_ASSERT_PTR_NULL(d);
}

static void a_name_that_is_too_long_is_refused(void) {
    const char *root = tree_folder("long");
    char *name = malloc(3 << 20);
    CU_ASSERT_PTR_NOT_NULL_FATAL(name);
    memset(name, 'x', (3 << 20) - 1);
    name[(3 << 20) - 1] = '\0';
    test_tar tar;
    test_tar_init(&tar);
    test_tar_file(&tar, "a.jpg", "a.jpg");
    test_tar_pax(&tar, "path", name);
    test_tar_file(&tar, "b.jpg", "b.jpg");
    free(name);
    const char *path = save(&tar, root, "long.tar");
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_dataset_open(path, &options, &d, &err), &err);
    ANX_CHECK_MESSAGE("behind 'a.jpg': damaged tar archive: ", &err);
}

static void what_is_no_tar_is_called_by_its_name(void) {
    const char *root = tree_folder("no-tar");
    tree_put(root, "x.tar.gz", "\x1f\x8b\x08\0\0\0\0\0\0\3", 10);
    tree_refused(
        tree_path(root, "x.tar.gz"), five(NULL, NULL), ANX_ERR_UNSUPPORTED,
        "$: a gzip file, not a plain tar archive; images are read in place, so an archive must be unpacked, or "
        "decompressed to a plain tar");
    tree_put(root, "x.jpg", "\xff\xd8\xff\xe0 a photograph", 17);
    tree_refused(
        tree_path(root, "x.jpg"), five(NULL, NULL), ANX_ERR_UNSUPPORTED,
        "$: a JPEG image, not a plain tar archive; images are read in place, so an archive must be unpacked, or "
        "decompressed to a plain tar");
    tree_text(root, "x.txt", "some text");
    tree_refused(tree_path(root, "x.txt"), five(NULL, NULL), ANX_ERR_FORMAT,
                 "$: offset 0: not a tar archive: Unrecognized archive format");
    tree_text(root, "empty", "");
    tree_refused(tree_path(root, "empty"), five(NULL, NULL), ANX_ERR_FORMAT, "$: an empty file, not a tar archive");
    test_tar tar;
    test_tar_init(&tar);
    const char *path = save(&tar, root, "none.tar");
    tree_refused(path, five(NULL, NULL), ANX_ERR_NOT_FOUND,
                 "$: no images in it: no folders of classes, no file whose name ends in .jpg, .jpeg, .png, .ppm, .bmp, "
                 ".pgm, .tif, .tiff, .webp");
}

/* ---- several threads ------------------------------------------------------------------------------------ */

enum { MANY = 200, THREADS = 4 };

static void fill(uint8_t *bytes, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)((seed * 2654435761u + i * 40503u) >> 7);
}

static size_t size_of(int i) {
    return (size_t)(i * 211 % 1700);
}

static void *read_all(void *context) {
    const anx_image_source *source = context;
    size_t wrong = 0;
    for (int i = 0; i < MANY; i++) {
        anx_error *e = malloc(sizeof *e);
        uint8_t *bytes = NULL, expected[2000];
        size_t n = 0;
        source->prefetch(source->context, i);
        fill(expected, size_of(i), (unsigned)i);
        if (e == NULL || source->read(source->context, i, &bytes, &n, e) != ANX_OK || n != size_of(i) ||
            memcmp(bytes, expected, n) != 0)
            wrong++;
        free(bytes);
        free(e);
    }
    return (void *)wrong;
}

static void threads_read_one_tar_at_once(void) {
    const char *root = tree_folder("threads");
    test_tar tar;
    test_tar_init(&tar);
    for (int i = 0; i < MANY; i++) {
        char name[64];
        uint8_t bytes[2000];
        fill(bytes, size_of(i), (unsigned)i);
        snprintf(name, sizeof name, "n00000010/%04d.jpg", i);
        if (i % 3 == 0) test_tar_pax(&tar, "comment", "a header more");
        test_tar_header(&tar, name, '0', NULL, size_of(i));
        test_tar_data(&tar, bytes, size_of(i));
    }
    const char *path = save(&tar, root, "many.tar");
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_OK(anx_dataset_open(path, &options, &d, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    CU_ASSERT_EQUAL(unlink(path), 0); /* the dataset keeps what it opened */
    anx_image_source source = anx_dataset_source(d);
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++) CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[t], NULL, read_all, &source), 0);
    for (int t = 0; t < THREADS; t++) {
        void *wrong = NULL;
        pthread_join(threads[t], &wrong);
        CU_ASSERT_EQUAL((size_t)wrong, 0);
    }
    anx_dataset_close(d);
}

static void a_tar_that_shrinks_is_an_error(void) {
    const char *root = tree_folder("shrinks");
    test_tar tar;
    test_tar_init(&tar);
    test_tar_file(&tar, "n00000010/a.jpg", "a.jpg");
    const char *path = save(&tar, root, "shrinks.tar");
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_OK(anx_dataset_open(path, &options, &d, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    CU_ASSERT_EQUAL(truncate(path, 514), 0);
    const anx_image_source source = anx_dataset_source(d);
    uint8_t *bytes = NULL;
    size_t n = 0;
    ANX_CHECK_STATUS(ANX_ERR_IO, source.read(source.context, 0, &bytes, &n, &err), &err);
    ANX_CHECK_MESSAGE("shrinks.tar: entry 'n00000010/a.jpg': the archive is shorter than when it was opened", &err);
    CU_ASSERT_PTR_NULL(bytes);
    CU_ASSERT(strstr(source.name(source.context, 0), "/shrinks.tar/n00000010/a.jpg") != NULL);
    anx_dataset_close(d);
}

static void an_entry_above_a_gibibyte_is_not_read(void) {
    const char *root = tree_folder("gibibyte");
    test_tar tar;
    test_tar_init(&tar);
    test_tar_header(&tar, "n00000010/a.jpg", '0', NULL, ((uint64_t)1 << 30) + 512);
    tree_put(root, "large.tar", tar.bytes, tar.n_bytes);
    test_tar_fini(&tar);
    const char *path = tree_path(root, "large.tar");
    CU_ASSERT_EQUAL(truncate(path, ((off_t)1 << 30) + 2048), 0); /* a hole */
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_OK(anx_dataset_open(path, &options, &d, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    const anx_image_source source = anx_dataset_source(d);
    uint8_t *bytes = NULL;
    size_t n = 0;
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, source.read(source.context, 0, &bytes, &n, &err), &err);
    ANX_CHECK_MESSAGE("entry 'n00000010/a.jpg': the file has 1073742336 bytes; at most 1073741824", &err);
    anx_dataset_close(d);
}

static const anx_test tests[] = {
    {"formats are read in place", formats_are_read_in_place},
    {"each list of labels serves a tar", each_list_of_labels_serves_a_tar},
    {"folders in a tar are classes", folders_in_a_tar_are_classes},
    {"links and odd entries are named", links_and_odd_entries_are_named},
    {"sparse files are refused", sparse_files_are_refused},
    {"what is cut or lies about sizes is refused", what_is_cut_or_lies_about_sizes_is_refused},
    {"a name that is too long is refused", a_name_that_is_too_long_is_refused},
    {"what is no tar is called by its name", what_is_no_tar_is_called_by_its_name},
    {"threads read one tar at once", threads_read_one_tar_at_once},
    {"a tar that shrinks is an error", a_tar_that_shrinks_is_an_error},
    {"an entry above a gibibyte is not read", an_entry_above_a_gibibyte_is_not_read},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("dataset_tar", tests, argc, argv);
}
