/*
 * Leadership: leader election with provable authority, on etcd.
 *
 * Conventions: order of arguments is self, inputs, outputs; outputs are written only on success; _free(NULL) does
 * nothing. Text in is UTF-8 and NUL-terminated.
 */

#ifndef LEADERSHIP_H
#define LEADERSHIP_H

/* Generated from ffi/src by cbindgen (make header). Do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version as text, e.g. "0.1.0". Static: valid for ever, never freed. Any thread.
const char *leadership_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LEADERSHIP_H */
