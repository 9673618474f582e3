/* Images with a label file: Caffe's, Kaggle's and the devkit's, as they are found, and all that can be wrong with them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/dataset/tree.h"

/* Images 1 to n as ILSVRC2012 names them. */
static void numbered_images(const char *root, int n) {
    char name[64];
    for (int i = 1; i <= n; i++) {
        snprintf(name, sizeof name, "ILSVRC2012_val_%08d.JPEG", i);
        tree_images(root, name);
    }
}

static const char three[] = "3 ILSVRC2012_val_00000001.JPEG\n0 ILSVRC2012_val_00000002.JPEG\n"
                            "4 ILSVRC2012_val_00000003.JPEG\n";
static const char caffe[] = "ILSVRC2012_val_00000001.JPEG 3\nILSVRC2012_val_00000002.JPEG 0\n"
                            "ILSVRC2012_val_00000003.JPEG 4\n";
static const char kaggle[] = "ImageId,PredictionString\nILSVRC2012_val_00000003,n00000050 85 1 499 272 \n"
                             "ILSVRC2012_val_00000001,n00000040 1 2 3 4 n00000010 5 6 7 8\n"
                             "ILSVRC2012_val_00000002,n00000010 1 2 3 4\n";
static const char synsets[] = "n00000030\nn00000050\nn00000010\nn00000020\nn00000040\n";
static const char devkit[] = "5\n3\n2\n";

static void label_files_are_found_in_the_folder_and_beside_it(void) {
    const char *root = tree_folder("found"), *images = tree_folder("found/images");
    numbered_images(images, 3);
    tree_text(root, "LOC_val_solution.csv", kaggle);
    tree_check(images, five(NULL, NULL), "flat folder with Kaggle's LOC_val_solution.csv", three);
    tree_text(images, "val.txt", caffe); /* nearer */
    anx_dataset *d = tree_open(images, five(NULL, NULL), three);
    if (d == NULL) return;
    CU_ASSERT_STRING_EQUAL(d->layout, "flat folder with Caffe's val.txt");
    CU_ASSERT_STRING_EQUAL(d->labels, tree_path(images, "val.txt"));
    CU_ASSERT_STRING_EQUAL(d->class_ids[3], "n00000040");
    CU_ASSERT(!d->by_wnid);
    CU_ASSERT_EQUAL(d->n_classes_present, 3);
    anx_dataset_close(d);
    tree_text(root, "synsets", synsets);
    tree_text(root, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", devkit);
    CU_ASSERT_EQUAL(unlink(tree_path(images, "val.txt")), 0);
    d = tree_open(images, five(NULL, tree_path(root, "synsets")), three); /* the synsets say which is meant */
    if (d == NULL) return;
    CU_ASSERT_STRING_EQUAL(d->layout, "flat folder with the devkit's ground truth");
    CU_ASSERT(d->by_wnid);
    anx_dataset_close(d);
}

static void the_folder_above_is_found_from_anywhere(void) {
    const char *root = tree_folder("above"), *images = tree_folder("above/images");
    char before[2048];
    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(before, sizeof before));
    numbered_images(images, 3);
    tree_text(root, "val.txt", caffe);
    CU_ASSERT_EQUAL_FATAL(chdir(images), 0);
    tree_check(".", five(NULL, NULL), "flat folder with Caffe's val.txt", three);
    CU_ASSERT_EQUAL_FATAL(chdir(root), 0);
    tree_check("images", five(NULL, NULL), "flat folder with Caffe's val.txt", three);
    tree_check("images/", five(NULL, NULL), "flat folder with Caffe's val.txt", three);
    CU_ASSERT_EQUAL_FATAL(chdir(before), 0);
}

static void caffe_as_found(void) {
    const char *root = tree_folder("caffe");
    tree_images(root, "a.JPEG b/c.JPEG d/e.JPEG .hidden.jpg ._a.JPEG");
    tree_text(root, "x y  z.JPEG", "x y  z.JPEG");
    tree_text(root, "caf\xc3\xa9\xff.png", "caf\xc3\xa9\xff.png");
    tree_text(root, "labels",
              "\xef\xbb\xbf/data/val/a.JPEG 0\r\n\r\n   ./val/b/c.JPEG\t 1  \r\n\t\nx y  z.JPEG 2\r\n"
              "d\\e.JPEG 03\ncaf\xc3\xa9\xff.png 4");
    anx_dataset *d = tree_open(root, five(tree_path(root, "labels"), NULL),
                               "0 a.JPEG\n4 caf\xc3\xa9\xff.png\n2 x y  z.JPEG\n1 b/c.JPEG\n3 d/e.JPEG\n");
    if (d == NULL) return;
    CU_ASSERT_STRING_EQUAL(d->layout, "folders with Caffe's val.txt");
    tree_note(d, "2 hidden files without a label are left out.");
    anx_dataset_close(d);
    /* A model whose classes have no wnids. */
    d = NULL;
    const anx_dataset_options seven = {.labels = tree_path(root, "labels"), .n_classes = 7};
    ANX_CHECK_OK(anx_dataset_open(root, &seven, &d, &err), &err);
    if (d != NULL) CU_ASSERT_STRING_EQUAL(d->class_ids[6], "6");
    anx_dataset_close(d);
}

static void wnid_folders_with_a_list_that_is_asked_for(void) {
    const char *root = tree_folder("both");
    tree_images(root, "n00000010/a.jpg n00000020/b.jpg");
    tree_text(root, "val.txt", "n00000010/a.jpg 4\nb.jpg 3\n");
    tree_check(root, five(NULL, NULL), "wnid folders", "0 n00000010/a.jpg\n1 n00000020/b.jpg\n");
    tree_check(root, five(tree_path(root, "val.txt"), NULL), "folders with Caffe's val.txt",
               "4 n00000010/a.jpg\n3 n00000020/b.jpg\n");
    /* Folders that cannot be the classes: a list that lies there is meant. */
    const char *other = tree_folder("other");
    tree_images(other, "val/a.jpg");
    tree_text(other, "val.txt", "a.jpg 2\n");
    tree_check(other, five(NULL, NULL), "folders with Caffe's val.txt", "2 val/a.jpg\n");
    tree_check(other, unnamed(1), "class folders", "0 val/a.jpg\n");
}

static void every_defect_of_a_list_is_named(void) {
    const char *root = tree_folder("defects"), *labels = tree_path(root, "val.txt");
    tree_images(root, "a.jpg b.jpg c.jpg d.jpg e.jpg f/same.jpg g/same.jpg");
    tree_text(root, "val.txt",
              "a.jpg 0\nb.jpg 5\nc.jpg -1\n\nnothing.jpg 3\na.jpg 1\nword\nd.jpg 1e2\ne.jpg 99999999999999999999\n"
              "same.jpg 1\nesc\x1b[1m 2\n");
    char message[3000];
    snprintf(message, sizeof message,
             "%s: 11 things do not fit, in it or in $:\n"
             "  line 2: class index 5; the model has 0 to 4\n"
             "  line 3: '-1' is no class index\n"
             "  line 7: expected 'NAME INDEX', got 'word'\n"
             "  line 8: '1e2' is no class index\n"
             "  line 9: '99999999999999999999' is no class index\n"
             "  line 5: 'nothing.jpg' is not there\n"
             "  line 6: a second label for 'a.jpg'; line 1 has the first\n"
             "  line 10: several files are called 'same.jpg'\n"
             "  line 11: 'esc\\x1b[1m' is not there\n"
             "  'f/same.jpg' has no label\n"
             "  'g/same.jpg' has no label",
             labels);
    tree_refused(root, five(NULL, NULL), ANX_ERR_FORMAT, message);
    tree_text(root, "val.txt", "a.jpg 0\nb.jpg 1\nc.jpg 2\nd.jpg 5\ne.jpg 4\nf/same.jpg 1\ng/same.jpg 1\n");
    snprintf(message, sizeof message, "%s: line 4: class index 5; the model has 0 to 4", labels);
    tree_refused(root, five(NULL, NULL), ANX_ERR_MISMATCH, message);
}

static void every_file_without_a_label_is_counted(void) {
    const char *root = tree_folder("unlabelled"), *labels = tree_path(root, "val.txt");
    numbered_images(root, 1000);
    tree_text(root, "val.txt", "nothing.jpg 1\n");
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_dataset_open(root, &options, &d, &err), &err);
    ANX_CHECK_MESSAGE("1001 things do not fit, in it or in ", &err);
    ANX_CHECK_MESSAGE("line 1: 'nothing.jpg' is not there\n  'ILSVRC2012_val_00000001.JPEG' has no label\n", &err);
    ANX_CHECK_MESSAGE(" more", &err);
    CU_ASSERT_STRING_EQUAL(err.file, labels);
}

static void kaggle_as_found(void) {
    const char *root = tree_folder("kaggle"), *labels = tree_path(root, "k.csv");
    numbered_images(root, 3);
    tree_text(root, "ILSVRC2012_val_00000001.xml", "<annotation/>");
    tree_text(root, "k.csv",
              "\xef\xbb\xbf"
              "\"ImageId\",\"PredictionString\"\r\n\"ILSVRC2012_val_00000003\",\"n00000050 85 1 499 272 \"\r\n"
              "val/ILSVRC2012_val_00000001.JPEG,n00000040\r\nILSVRC2012_val_00000002,n00000010 1 2 3 4\r\n\r\n");
    tree_check(root, five(labels, NULL), "flat folder with Kaggle's LOC_val_solution.csv", three);
    tree_text(root, "k.csv",
              "ILSVRC2012_val_00000003,n00000050\nILSVRC2012_val_00000001,n00000060 1 2\nILSVRC2012_val_00000002,dog\n"
              "no comma\nILSVRC2012_val_00000009,n00000010\nx,\n");
    char message[2000];
    snprintf(message, sizeof message,
             "%s: 5 things do not fit, in it or in $:\n"
             "  line 2: 'n00000060' is the wnid of no class\n"
             "  line 3: 'dog' is no wnid\n"
             "  line 4: expected 'NAME,WNID ...', got 'no comma'\n"
             "  line 6: expected 'NAME,WNID ...', got 'x'\n"
             "  line 5: 'ILSVRC2012_val_00000009' is not there",
             labels);
    tree_refused(root, five(labels, NULL), ANX_ERR_FORMAT, message);
    const anx_dataset_options seven = {.labels = labels, .classes = five_classes(), .n_classes = 7};
    snprintf(
        message, sizeof message,
        "%s: these labels stand for wnids, and which class of the model each wnid is, is known for ImageNet's 1,000 "
        "classes alone; the model has 7. Use a list of lines 'NAME INDEX'",
        labels);
    tree_refused(root, seven, ANX_ERR_UNSUPPORTED, message);
}

static void the_devkit_needs_its_synsets(void) {
    const char *root = tree_folder("devkit"), *list = tree_path(root, "synsets");
    numbered_images(root, 3);
    tree_text(root, "ILSVRC2012_validation_ground_truth.txt", devkit);
    tree_text(root, "synsets", synsets);
    tree_check(root, five(NULL, list), "flat folder with the devkit's ground truth", three);
    const anx_dataset_options without = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_dataset_open(root, &without, &d, &err), &err);
    ANX_CHECK_MESSAGE(
        "devkit/ILSVRC2012_validation_ground_truth.txt: these are ILSVRC2012 ids, not class indices: they "
        "follow the devkit's own list of synsets, class indices the order of the wnids, so that reading "
        "one as the other counts nearly everything wrong. Give the list with --synsets FILE: one wnid a "
        "line, line 1 for id 1. The devkit has it in data/meta.mat:\n  python3 -c \"import scipy.io; ",
        &err);
    /* A list of class indices needs none, and says so. */
    tree_text(root, "val.txt", caffe);
    d = tree_open(root, five(tree_path(root, "val.txt"), list), three);
    if (d != NULL) tree_note(d, "The list of synsets was not needed");
    anx_dataset_close(d);
}

static void the_devkits_lines_are_the_images_in_order(void) {
    const char *root = tree_folder("in-order"), *list = tree_path(root, "synsets");
    const char *labels = tree_path(root, "ILSVRC2012_validation_ground_truth.txt");
    tree_images(root, "b.JPEG a.JPEG c.JPEG .hidden.JPEG");
    tree_text(root, "synsets", synsets);
    tree_text(root, "ILSVRC2012_validation_ground_truth.txt", devkit);
    tree_check(root, five(NULL, list), "flat folder with the devkit's ground truth", "3 a.JPEG\n0 b.JPEG\n4 c.JPEG\n");
    const char *gaps = tree_folder("gaps");
    tree_images(gaps, "ILSVRC2012_val_00000002.JPEG ILSVRC2012_val_00000003.JPEG ILSVRC2012_val_00000007.JPEG");
    anx_dataset *d = tree_open(gaps, five(labels, list),
                               "3 ILSVRC2012_val_00000002.JPEG\n0 ILSVRC2012_val_00000003.JPEG\n"
                               "4 ILSVRC2012_val_00000007.JPEG\n");
    if (d != NULL) tree_note(d, "The images' names have other numbers than 1 to 3");
    anx_dataset_close(d);
    /* Another number of labels than of images: numbers in the names decide. */
    const char *numbered = tree_folder("numbered");
    numbered_images(numbered, 2);
    char message[2000];
    snprintf(message, sizeof message,
             "%s: line 3: 'ILSVRC2012_val_00000003' is not there\n3 labels, which belong to images numbered from 1 in "
             "their names, or to exactly as many images in the order of their names.",
             labels);
    tree_refused(numbered, five(labels, list), ANX_ERR_MISMATCH, message);
    tree_text(root, "ILSVRC2012_validation_ground_truth.txt", "5\n0\n6\nx\n");
    snprintf(message, sizeof message,
             "%s: 5 things do not fit, in it or in $:\n"
             "  line 2: id 0; the synsets have 1 to 5\n"
             "  line 3: id 6; the synsets have 1 to 5\n"
             "  line 4: 'x' is no ILSVRC2012 id\n"
             "  line 3: 'ILSVRC2012_val_00000003' is not there\n"
             "  line 4: 'ILSVRC2012_val_00000004' is not there\n"
             "4 labels, which belong to images numbered from 1 in their names, or to exactly as many images in the "
             "order of their names.",
             labels);
    tree_refused(numbered, five(labels, list), ANX_ERR_FORMAT, message);
}

static void every_fault_of_the_synsets_is_named(void) {
    const char *root = tree_folder("synsets"), *list = tree_path(root, "synsets");
    numbered_images(root, 3);
    tree_text(root, "ILSVRC2012_validation_ground_truth.txt", devkit);
    tree_text(root, "synsets", "n00000030 a thing, another\nn00000030\nn00000070\ndog\n");
    char message[2000];
    snprintf(message, sizeof message,
             "%s: 4 faults in the list of synsets:\n"
             "  line 2: 'n00000030' a second time\n"
             "  line 3: 'n00000070' is the wnid of no class\n"
             "  line 4: 'dog' is no wnid\n"
             "  4 wnids; the classes are 5",
             list);
    tree_refused(root, five(NULL, list), ANX_ERR_FORMAT, message);
    tree_text(root, "synsets", "n00000010\nn00000020\nn00000030\nn00000040\nn00000050\nn00000010\n");
    snprintf(message, sizeof message,
             "%s: 2 faults in the list of synsets:\n  line 6: 'n00000010' a second time\n  6 wnids; the classes are 5",
             list);
    tree_refused(root, five(NULL, list), ANX_ERR_MISMATCH, message);
    snprintf(message, sizeof message, "%s: cannot open: No such file or directory", tree_path(root, "none"));
    tree_refused(root, five(NULL, tree_path(root, "none")), ANX_ERR_NOT_FOUND, message);
    /* In the order of class indices: possible, and what a wrong list looks like. */
    tree_text(root, "synsets", "n00000010\nn00000020\nn00000030\nn00000040\nn00000050\n");
    anx_dataset *d = tree_open(root, five(NULL, list),
                               "4 ILSVRC2012_val_00000001.JPEG\n2 ILSVRC2012_val_00000002.JPEG\n"
                               "1 ILSVRC2012_val_00000003.JPEG\n");
    if (d != NULL) tree_note(d, "The synsets are in the order of class indices");
    anx_dataset_close(d);
}

static void what_is_no_label_file_is_refused(void) {
    const char *root = tree_folder("no-labels"), *labels = tree_path(root, "labels");
    char message[1000];
    tree_images(root, "a.jpg");
    snprintf(message, sizeof message, "%s: cannot open: No such file or directory", labels);
    tree_refused(root, five(labels, NULL), ANX_ERR_NOT_FOUND, message);
    tree_text(root, "labels", "\xef\xbb\xbf \r\n\n");
    snprintf(message, sizeof message, "%s: no line in it", labels);
    tree_refused(root, five(labels, NULL), ANX_ERR_FORMAT, message);
    tree_put(root, "labels",
             "\xff\xfe"
             "a\0.\0j\0p\0g\0 \0001\0",
             16);
    snprintf(message, sizeof message, "%s: text in UTF-16; save it as UTF-8", labels);
    tree_refused(root, five(labels, NULL), ANX_ERR_FORMAT, message);
    tree_put(root, "labels", "a.jpg 1\n\0", 9);
    snprintf(message, sizeof message, "%s: not a text file: it holds zero bytes", labels);
    tree_refused(root, five(labels, NULL), ANX_ERR_FORMAT, message);
    tree_text(root, "labels", "{\"a.jpg\": 1}\n");
    snprintf(message, sizeof message,
             "%s: no label file of a known kind: it begins with '{\"a.jpg\": 1}', not with 'NAME INDEX' (Caffe's "
             "val.txt), 'ImageId,PredictionString' (Kaggle's LOC_val_solution.csv) or a number alone (the devkit's "
             "ILSVRC2012_validation_ground_truth.txt)",
             labels);
    tree_refused(root, five(labels, NULL), ANX_ERR_FORMAT, message);
    snprintf(message, sizeof message, "%s: a folder, not a file", root);
    tree_refused(root, five(root, NULL), ANX_ERR_INVALID_ARGUMENT, message);
    /* Labels for what is no image by its name: the list decides, the decoder will say more. */
    tree_text(root, "b.gif", "b.gif");
    tree_text(root, "labels", "a.jpg 1\nb.gif 2\n");
    tree_check(root, five(labels, NULL), "flat folder with Caffe's val.txt", "1 a.jpg\n2 b.gif\n");
}

static void fifty_thousand_labels_are_matched(void) {
    const char *root = tree_folder("large");
    char name[64];
    FILE *f = fopen(tree_path(root, "val.txt"), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    for (int i = 50000; i > 0; i--) {
        snprintf(name, sizeof name, "ILSVRC2012_val_%08d.JPEG", i);
        fprintf(f, "/a/b/%s %d\n", name, i % 5);
        tree_text(root, name, "");
    }
    CU_ASSERT_EQUAL_FATAL(fclose(f), 0);
    const anx_dataset_options options = five(NULL, NULL);
    anx_dataset *d = NULL;
    ANX_CHECK_OK(anx_dataset_open(root, &options, &d, &err), &err);
    if (d == NULL) return;
    CU_ASSERT_EQUAL(d->n_samples, 50000);
    int64_t wrong = 0;
    for (int64_t i = 0; i < d->n_samples; i++) wrong += d->samples[i].label != (i + 1) % 5;
    CU_ASSERT_EQUAL(wrong, 0);
    anx_dataset_close(d);
}

static const anx_test tests[] = {
    {"label files are found in the folder and beside it", label_files_are_found_in_the_folder_and_beside_it},
    {"the folder above is found from anywhere", the_folder_above_is_found_from_anywhere},
    {"Caffe's list as found", caffe_as_found},
    {"wnid folders with a list that is asked for", wnid_folders_with_a_list_that_is_asked_for},
    {"every defect of a list is named", every_defect_of_a_list_is_named},
    {"every file without a label is counted", every_file_without_a_label_is_counted},
    {"Kaggle's list as found", kaggle_as_found},
    {"the devkit needs its synsets", the_devkit_needs_its_synsets},
    {"the devkit's lines are the images in order", the_devkits_lines_are_the_images_in_order},
    {"every fault of the synsets is named", every_fault_of_the_synsets_is_named},
    {"what is no label file is refused", what_is_no_label_file_is_refused},
    {"fifty thousand labels are matched", fifty_thousand_labels_are_matched},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("dataset_labels", tests, argc, argv);
}
