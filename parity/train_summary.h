/* What is said of a training run in words, by the views of its log and while it runs. */
#ifndef ANX_PARITY_TRAIN_SUMMARY_H
#define ANX_PARITY_TRAIN_SUMMARY_H

#include "parity/train_log.h"

enum { ANX_TRAIN_WORDS = 512 };

/* The epoch that was marked best last; where none was, the first with the highest validation accuracy; or NULL. */
const anx_train_epoch *anx_train_best(const anx_train_log *log);
/* The text, or that the log does not tell. */
const char *anx_train_told(const char *text);
/* Steps that were done, as far as the log tells. */
int64_t anx_train_steps_done(const anx_train_log *log);
/* "done after 90 epochs and 450,450 steps" into buf, which is returned; *good is whether it ended as asked. */
char *anx_train_result(const anx_train_log *log, bool *good, char buf[ANX_TRAIN_WORDS]);
/* "epoch 3, step 17 (step 317 of the run)" */
char *anx_train_place(int64_t epoch, int64_t step, int64_t global_step, char buf[ANX_TRAIN_WORDS]);
/* What was not finite, and where. */
char *anx_train_non_finite_words(const anx_train_non_finite *event, char buf[ANX_TRAIN_WORDS]);
/* "9.3 s", "2 min 03 s", "1 h 02 min" */
char *anx_train_duration(double seconds, char buf[32]);
/* "244,409,783" */
char *anx_train_count(int64_t value, char buf[32]);
/* An option's value. Returns buf or the option's own text. */
const char *anx_train_option_value(const anx_train_option *option, char buf[32]);
/* A loss, an accuracy in per cent, a learning rate; "-" for what was not measured, "nan" for one that was. */
char *anx_train_loss(double value, char buf[32]);
char *anx_train_accuracy(double value, char buf[32]);
char *anx_train_rate(double value, char buf[32]);
/* Do the groups have one learning rate in all epochs and steps? */
bool anx_train_one_rate(const anx_train_log *log);

/* Whether a resumption's note was there when the run began. */
bool anx_train_was_noted(const anx_train_log *log, const char *note);

#endif
