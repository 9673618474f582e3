/* The folder of a training run: which files are its own. */
#ifndef ANX_TOOLS_TRAIN_FILES_H
#define ANX_TOOLS_TRAIN_FILES_H

#include "src/base/status.h"

typedef enum anx_train_file {
    ANX_TRAIN_LAST = 0,   /* checkpoint: where the run is */
    ANX_TRAIN_BEST,       /* checkpoint: after the epoch with the best validation accuracy */
    ANX_TRAIN_LAST_MODEL, /* state_dict: of the run's end */
    ANX_TRAIN_BEST_MODEL,
    ANX_TRAIN_CLASSES, /* what the classes are called */
    ANX_TRAIN_LOG,
    ANX_TRAIN_FILES
} anx_train_file;

typedef struct anx_train_folder {
    char *path;
    char *files[ANX_TRAIN_FILES]; /* FOLDER/last.pth, ...; the log may be elsewhere */
    bool locked;
    int lock; /* a descriptor of the folder, where it is locked */
} anx_train_folder;

/*
 * Puts the names together; makes nothing. output NULL: the folder that `beside` is in. log NULL: in the folder.
 * Release with anx_train_folder_fini. Errors: OUT_OF_MEMORY.
 */
anx_status anx_train_folder_init(const char *output, const char *beside, const char *log, anx_train_folder *out,
                                 anx_error *err);
void anx_train_folder_fini(anx_train_folder *folder);

/* Is it, or would it be, among what is directly in that folder? */
bool anx_train_folder_is_in(const anx_train_folder *folder, const char *outer);
/* A regular file, by whatever links? */
bool anx_train_is_file(const char *path);
/* Makes the folder, and those above it, if need be, and looks whether files can be made there. Errors: IO, NOT_FOUND,
   INVALID_ARGUMENT (a file of that name). */
anx_status anx_train_folder_make(const anx_train_folder *folder, anx_error *err);
/* Keeps other runs out of the folder until anx_train_folder_fini, whatever logs they write. Where a file system has no
   locks, nothing is done. Errors: IO (another process has it). */
anx_status anx_train_folder_lock(anx_train_folder *folder, anx_error *err);
/* EXISTS where a file of an earlier run is there, naming it. A log may be a device or a pipe, which is none. */
anx_status anx_train_folder_check_empty(const anx_train_folder *folder, anx_error *err);
/* Removes an earlier run's files, but not the log, which is replaced when the new one is begun. Errors: IO. */
anx_status anx_train_folder_clear(const anx_train_folder *folder, anx_error *err);
/* Removes the log and the list of classes of a run that came to nothing. Devices and pipes stay. */
void anx_train_folder_take_back(const anx_train_folder *folder);
/* Removes the temporary files that a run left which was killed: they can be as large as its checkpoints. Only while no
   other run writes there. What cannot be removed stays. */
void anx_train_folder_sweep(const anx_train_folder *folder);

#endif
