/* Folders of classes, by wnid and by position, and what does not fit in them. ImageFolder judges in imagefolder.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/dataset/tree.h"

static void wnid_folders_are_matched_by_wnid(void) {
    const char *root = tree_folder("wnids");
    tree_images(root, "n00000050/b.JPEG n00000050/a.jpg n00000020/x.png n00000020/.hidden.jpg n00000020/notes.txt");
    anx_dataset *d = tree_open(root, five(NULL, NULL),
                               "1 n00000020/.hidden.jpg\n1 n00000020/x.png\n4 n00000050/a.jpg\n4 n00000050/b.JPEG\n");
    if (d == NULL) return;
    CU_ASSERT_STRING_EQUAL(d->layout, "wnid folders");
    CU_ASSERT_PTR_NULL(d->labels);
    CU_ASSERT(d->by_wnid);
    CU_ASSERT_EQUAL(d->n_classes, 5);
    CU_ASSERT_EQUAL(d->n_classes_present, 2);
    CU_ASSERT_STRING_EQUAL(d->class_ids[4], "n00000050");
    CU_ASSERT_EQUAL(d->n_notes, 2);
    tree_note(d, "torchvision's ImageFolder would number these 2 from 0 to 1");
    tree_note(d, "2 of 5 classes have images. None: n00000010, n00000030, n00000040.");
    anx_dataset_close(d);
}

static void all_wnids_need_no_note(void) {
    const char *root = tree_folder("all-wnids");
    tree_images(root, "n00000010/a.jpg n00000020/a.jpg n00000030/a.jpg n00000040/a.jpg n00000050/a.jpg");
    anx_dataset *d = tree_open(tree_path(root, "//"), five(NULL, NULL),
                               "0 n00000010/a.jpg\n1 n00000020/a.jpg\n2 n00000030/a.jpg\n3 n00000040/a.jpg\n"
                               "4 n00000050/a.jpg\n");
    if (d != NULL) CU_ASSERT_EQUAL(d->n_notes, 0);
    anx_dataset_close(d);
}

static void other_folders_count_by_position(void) {
    const char *root = tree_folder("names");
    tree_images(root, "dog/1.jpg Cat/1.jpg ant/1.jpg stray.jpg");
    anx_dataset *d = tree_open(root, unnamed(3), "0 Cat/1.jpg\n1 ant/1.jpg\n2 dog/1.jpg\n");
    if (d == NULL) return;
    CU_ASSERT_STRING_EQUAL(d->layout, "class folders");
    CU_ASSERT(!d->by_wnid);
    CU_ASSERT_STRING_EQUAL(d->class_ids[0], "Cat");
    CU_ASSERT_EQUAL(d->n_notes, 1);
    tree_note(d, "Images beside the folders");
    anx_dataset_close(d);
    /* Wnids of a model with other classes are names like any other. */
    const char *few = tree_folder("few");
    tree_images(few, "n00000050/b.jpg n00000020/a.jpg");
    const anx_dataset_options two = {.classes = five_classes(), .n_classes = 2};
    tree_check(few, two, "class folders", "0 n00000020/a.jpg\n1 n00000050/b.jpg\n");
}

/* For a model to be made: as many classes as folders, whatever lies beside them. */
static void each_folder_is_a_class(void) {
    const char *root = tree_folder("each");
    tree_images(root, "n00000050/b.jpg n00000020/a.jpg other/deep/c.png stray.jpg");
    tree_text(root, "val.txt", "stray.jpg 0\n");
    const anx_dataset_options any = {.classes = five_classes(), .n_classes = 0};
    anx_dataset *d = tree_open(root, any, "0 n00000020/a.jpg\n1 n00000050/b.jpg\n2 other/deep/c.png\n");
    if (d != NULL) {
        CU_ASSERT_STRING_EQUAL(d->layout, "class folders");
        CU_ASSERT_EQUAL(d->n_classes, 3);
        CU_ASSERT_EQUAL(d->n_classes_present, 3);
        CU_ASSERT_STRING_EQUAL(d->class_ids[1], "n00000050");
    }
    anx_dataset_close(d);
    tree_refused(root, (anx_dataset_options){.labels = tree_path(root, "val.txt")}, ANX_ERR_INVALID_ARGUMENT,
                 "a label file's classes are those of a model");
    const char *flat = tree_folder("each-flat");
    tree_images(flat, "a.jpg b.jpg");
    tree_refused(flat, unnamed(0), ANX_ERR_NOT_FOUND,
                 "$: no folders of images in it, one for each class; what counts is a name that ends in .jpg, .jpeg, "
                 ".png, .ppm, .bmp, .pgm, .tif, .tiff, .webp");
    const char *empty = tree_folder("each-empty");
    tree_images(empty, "a/1.jpg");
    tree_text(empty, "b/no image.txt", "");
    tree_refused(empty, unnamed(0), ANX_ERR_MISMATCH,
                 "$: folder 'b': no image in it\nImages are files whose names end in .jpg, .jpeg, .png, .ppm, .bmp, "
                 ".pgm, .tif, .tiff, .webp, in any case.");
}

static void numbers_as_names_are_pointed_out(void) {
    const char *root = tree_folder("numbers");
    tree_images(root, "0/a.jpg 1/a.jpg 2/a.jpg 10/a.jpg");
    anx_dataset *d = tree_open(root, unnamed(4), "0 0/a.jpg\n1 1/a.jpg\n2 10/a.jpg\n3 2/a.jpg\n");
    if (d != NULL) tree_note(d, "their order as text (\"10\" before \"2\")");
    anx_dataset_close(d);
}

static void order_is_that_of_the_folders_paths(void) {
    const char *root = tree_folder("order");
    tree_images(root, "a/z.jpg a/b/1.jpg a/b-c/2.jpg a/b/c/3.jpg a-b/4.jpg a.jpg/5.jpg");
    tree_check(root, unnamed(3), "class folders",
               "0 a/z.jpg\n0 a/b/1.jpg\n0 a/b-c/2.jpg\n0 a/b/c/3.jpg\n1 a-b/4.jpg\n2 a.jpg/5.jpg\n");
}

static void every_empty_class_is_listed(void) {
    const char *root = tree_folder("empty");
    tree_images(root, "n00000010/a.jpg n00000020/readme.txt n00000030/ n00000040/.jpg");
    tree_refused(root, five(NULL, NULL), ANX_ERR_MISMATCH,
                 "$: 2 things do not fit:\n  folder 'n00000020': no image in it\n  folder 'n00000030': no image in it\n"
                 "Images are files whose names end in .jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff, .webp, in any "
                 "case.");
}

static void folders_that_are_no_class_are_listed(void) {
    const char *root = tree_folder("unknown");
    tree_images(root, "n00000010/a.jpg N00000020/a.jpg .git/a.jpg n99999999/a.jpg");
    tree_text(root, "esc\x1b[31m\xff/a.jpg", "a");
    tree_refused(root, five(NULL, NULL), ANX_ERR_MISMATCH,
                 "$: 4 things do not fit:\n  folder '.git': not the wnid of a class\n"
                 "  folder 'N00000020': not the wnid of a class\n"
                 "  folder 'esc\\x1b[31m\\xff': not the wnid of a class\n"
                 "  folder 'n99999999': not the wnid of a class");
}

static void a_wrong_number_of_folders_is_refused(void) {
    const char *root = tree_folder("count");
    tree_images(root, "val/a.jpg val/b.jpg");
    tree_refused(
        root, five(NULL, NULL), ANX_ERR_MISMATCH,
        "$: 1 folder ('val'), but the model has 5 classes\nWhere the classes' folders lie in another one, name "
        "that.");
    tree_images(root, "a/1.jpg b/1.jpg c/1.jpg d/1.jpg e/1.jpg");
    tree_refused(
        root, unnamed(5), ANX_ERR_MISMATCH,
        "$: 6 folders ('a', 'b', 'c', 'd', ...), but the model has 5 classes\nWhere the classes' folders lie in "
        "another one, name that.");
}

static void nothing_to_open(void) {
    const char *root = tree_folder("nothing");
    tree_refused(root, five(NULL, NULL), ANX_ERR_NOT_FOUND,
                 "$: no images in it: no folders of classes, no file whose name ends in .jpg, .jpeg, .png, .ppm, .bmp, "
                 ".pgm, .tif, .tiff, .webp");
    tree_refused(tree_path(root, "gone"), five(NULL, NULL), ANX_ERR_NOT_FOUND,
                 "$: cannot open: No such file or directory");
    tree_refused("/dev/null", five(NULL, NULL), ANX_ERR_INVALID_ARGUMENT, "$: neither a folder nor a file");
    tree_refused(root, unnamed(-1), ANX_ERR_INVALID_ARGUMENT, "a model has at least one class");
    tree_images(root, "a.jpg");
    tree_refused(root, five(NULL, NULL), ANX_ERR_NOT_FOUND,
                 "$: images, but neither folders of classes nor a label file (LOC_val_solution.csv, "
                 "ILSVRC2012_validation_ground_truth.txt, val.txt) in it or beside it; name one with --labels");
}

static void links_are_followed(void) {
    const char *root = tree_folder("links"), *elsewhere = tree_folder("elsewhere");
    tree_text(elsewhere, "real.jpg", "real.jpg");
    tree_images(root, "n00000010/a.jpg");
    tree_link(root, "n00000010/dangling.jpg", "nowhere");
    tree_link(root, "n00000010/self.jpg", "self.jpg");
    tree_link(root, "n00000010/file.png", "a.jpg");
    tree_link(root, "n00000010/sub", elsewhere);
    tree_link(root, "n00000020", elsewhere);
    tree_link(root, "n00000030", "nowhere");
    CU_ASSERT_EQUAL(unlink(tree_path(root, "n00000010/file.png")), 0); /* its content would not be its name */
    anx_dataset *d = tree_open(root, five(NULL, NULL),
                               "0 n00000010/a.jpg\n0 n00000010/dangling.jpg\n0 n00000010/self.jpg\n"
                               "0 n00000010/sub/real.jpg\n1 n00000020/real.jpg\n");
    if (d == NULL) return;
    const anx_image_source source = anx_dataset_source(d);
    uint8_t *bytes = NULL;
    size_t n;
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, source.read(source.context, 1, &bytes, &n, &err), &err);
    ANX_CHECK_MESSAGE("links/n00000010/dangling.jpg: cannot open: No such file", &err);
    ANX_CHECK_STATUS(ANX_ERR_IO, source.read(source.context, 2, &bytes, &n, &err), &err);
    anx_dataset_close(d);
}

static void links_that_lead_back_are_refused(void) {
    const char *root = tree_folder("cycle");
    tree_images(root, "n00000010/a.jpg n00000010/b/c.jpg");
    tree_link(root, "n00000010/loop", ".");
    tree_link(root, "n00000010/b/up", "../../n00000010");
    tree_link(root, "n00000020", ".");
    tree_refused(root, five(NULL, NULL), ANX_ERR_MISMATCH,
                 "$: 4 things do not fit:\n"
                 "  'n00000020': a symbolic link back to the dataset's folder, which holds it\n"
                 "  'n00000010/loop': a symbolic link back to 'n00000010', which holds it\n"
                 "  'n00000010/b/up': a symbolic link back to 'n00000010', which holds it\n"
                 "  folder 'n00000020': no image in it\n"
                 "torchvision would count the same files again and again there, up to 40 times.");
}

/* Each level doubles the folders: none leads back, and yet there is no end to them. */
static void links_that_fan_out_end(void) {
    const char *root = tree_folder("fan");
    char name[64], target[64];
    for (int i = 0; i < 24; i++) {
        snprintf(name, sizeof name, "d%d/a", i);
        snprintf(target, sizeof target, "../d%d", i + 1);
        tree_link(root, name, target);
        snprintf(name, sizeof name, "d%d/b", i);
        tree_link(root, name, target);
    }
    tree_images(root, "d24/x.jpg");
    CU_ASSERT_EQUAL(rename(tree_path(root, "d0"), tree_path(root, "n00000010")), 0);
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, anx_dataset_open(root, &options, &d, &err), &err);
    ANX_CHECK_MESSAGE("more than 262144 folders; do symbolic links lead in many ways there?", &err);
}

static void files_that_disappear_or_grow_are_named(void) {
    const char *root = tree_folder("gone");
    tree_images(root, "n00000010/a.jpg n00000010/b.jpg n00000010/c.jpg");
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_OK(anx_dataset_open(root, &options, &d, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    const anx_image_source source = anx_dataset_source(d);
    uint8_t *bytes = NULL;
    size_t n = 0;
    CU_ASSERT_EQUAL(unlink(tree_path(root, "n00000010/a.jpg")), 0);
    CU_ASSERT_EQUAL(unlink(tree_path(root, "n00000010/b.jpg")), 0);
    CU_ASSERT_EQUAL(mkfifo(tree_path(root, "n00000010/b.jpg"), 0666), 0);
    CU_ASSERT_EQUAL(truncate(tree_path(root, "n00000010/c.jpg"), ((off_t)1 << 30) + 1), 0);
    for (int64_t i = 0; i < 3; i++) source.prefetch(source.context, i);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, source.read(source.context, 0, &bytes, &n, &err), &err);
    ANX_CHECK_MESSAGE("/gone/n00000010/a.jpg: cannot open: No such file or directory", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, source.read(source.context, 1, &bytes, &n, &err), &err);
    ANX_CHECK_MESSAGE("/gone/n00000010/b.jpg: not a regular file", &err);
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, source.read(source.context, 2, &bytes, &n, &err), &err);
    ANX_CHECK_MESSAGE("/gone/n00000010/c.jpg: the file has 1073741825 bytes; at most 1073741824", &err);
    CU_ASSERT_PTR_NULL(bytes);
    anx_dataset_close(d);
}

static anx_digest digest_of(const char *root, int64_t n_classes) {
    anx_digest digest = {{0}};
    anx_dataset *d = NULL;
    const anx_dataset_options options = unnamed(n_classes);
    ANX_CHECK_OK(anx_dataset_open(root, &options, &d, &err), &err);
    if (d != NULL) digest = d->digest;
    anx_dataset_close(d);
    return digest;
}

static void the_digest_tells_datasets_apart(void) {
    const char *a = tree_folder("digest-a"), *b = tree_folder("digest-b");
    tree_images(a, "x/1.jpg y/2.jpg");
    tree_images(b, "y/2.jpg x/1.jpg");
    const anx_digest first = digest_of(a, 2), same = digest_of(b, 2);
    CU_ASSERT(anx_digest_equal(&first, &same));
    /* SHA-256 of "x/1.jpg", NUL, label and size of 8 bytes each, then the other's. */
    static const char text[] = "x/1.jpg\0\0\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0y/2.jpg\0\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0";
    anx_digest expected;
    ANX_CHECK_OK(anx_sha256_buffer(text, sizeof text, &expected, &err), &err);
    CU_ASSERT(anx_digest_equal(&first, &expected));
    tree_text(b, "x/1.jpg", "longer than it was");
    const anx_digest other = digest_of(b, 2);
    CU_ASSERT(!anx_digest_equal(&first, &other));
}

static void more_defects_than_fit_are_counted(void) {
    const char *root = tree_folder("many");
    tree_images(root, "n00000010/a.jpg");
    char name[128];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "folder-%04d/", i);
        tree_text(root, name, "");
    }
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_dataset_open(root, &options, &d, &err), &err);
    ANX_CHECK_MESSAGE("many: 3000 things do not fit:\n  folder 'folder-0000': not the wnid of a class\n", &err);
    int shown = 0, more = 0;
    for (const char *p = err.message; (p = strstr(p, "\n  folder ")) != NULL; p++) shown++;
    const char *last = strstr(err.message, "\n  ... and ");
    CU_ASSERT_PTR_NOT_NULL_FATAL(last);
    CU_ASSERT_EQUAL(sscanf(last, "\n  ... and %d more", &more), 1);
    CU_ASSERT_EQUAL(shown + more, 3000);
    CU_ASSERT(shown > 200);
}

/* Far from a benchmark: a search that is quadratic would take minutes. */
static void fifty_thousand_files_open(void) {
    const char *root = tree_folder("large");
    char name[64];
    for (int i = 0; i < 50000; i++) {
        snprintf(name, sizeof name, "n000000%d0/ILSVRC2012_val_%08d.JPEG", i % 5 + 1, i);
        tree_text(root, name, "");
    }
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    ANX_CHECK_OK(anx_dataset_open(root, &options, &d, &err), &err);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("\n50,000 files opened in %.3f s ",
           (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec));
    if (d != NULL) CU_ASSERT_EQUAL(d->n_samples, 50000);
    anx_dataset_close(d);
}

static const anx_test tests[] = {
    {"wnid folders are matched by wnid", wnid_folders_are_matched_by_wnid},
    {"all wnids need no note", all_wnids_need_no_note},
    {"other folders count by position", other_folders_count_by_position},
    {"each folder is a class", each_folder_is_a_class},
    {"numbers as names are pointed out", numbers_as_names_are_pointed_out},
    {"order is that of the folders' paths", order_is_that_of_the_folders_paths},
    {"every empty class is listed", every_empty_class_is_listed},
    {"folders that are no class are listed", folders_that_are_no_class_are_listed},
    {"a wrong number of folders is refused", a_wrong_number_of_folders_is_refused},
    {"nothing to open", nothing_to_open},
    {"links are followed", links_are_followed},
    {"links that lead back are refused", links_that_lead_back_are_refused},
    {"links that fan out end", links_that_fan_out_end},
    {"files that disappear or grow are named", files_that_disappear_or_grow_are_named},
    {"the digest tells datasets apart", the_digest_tells_datasets_apart},
    {"more defects than fit are counted", more_defects_than_fit_are_counted},
    {"fifty thousand files open", fifty_thousand_files_open},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("dataset_folders", tests, argc, argv);
}
