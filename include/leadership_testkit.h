/*
 * The test server of Leadership and its faults: an etcd in memory, for tests and demos. Production links none of it.
 *
 * Conventions: order of arguments is self, inputs, outputs; outputs are written only on success; _free(NULL) does
 * nothing; NULL as leadership_testkit_error * is success, anything else is the caller's to free. Text in is UTF-8 and
 * NUL-terminated; values are pointer + length and may hold any byte. Every function may be called from any thread,
 * _free while no other call on the same object is under way.
 */

#ifndef LEADERSHIP_TESTKIT_H
#define LEADERSHIP_TESTKIT_H

/* Generated from testkit/ffi/src by cbindgen (make header). Do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Calls of every kind.
#define LEADERSHIP_TESTKIT_METHOD_ANY 0

// KV.Range
#define LEADERSHIP_TESTKIT_METHOD_RANGE 1

// KV.Put
#define LEADERSHIP_TESTKIT_METHOD_PUT 2

// KV.DeleteRange
#define LEADERSHIP_TESTKIT_METHOD_DELETE 3

// KV.Txn
#define LEADERSHIP_TESTKIT_METHOD_TXN 4

// Lease.LeaseGrant
#define LEADERSHIP_TESTKIT_METHOD_LEASE_GRANT 5

// Lease.LeaseRevoke
#define LEADERSHIP_TESTKIT_METHOD_LEASE_REVOKE 6

// Lease.LeaseKeepAlive: the opening of the stream, or the open streams.
#define LEADERSHIP_TESTKIT_METHOD_LEASE_KEEP_ALIVE 7

// Watch.Watch: the opening of the stream, or the open streams.
#define LEADERSHIP_TESTKIT_METHOD_WATCH 8

// Maintenance.Status
#define LEADERSHIP_TESTKIT_METHOD_STATUS 9

// The reply of an applied call is lost with the connection: the client gets an error at once.
#define LEADERSHIP_TESTKIT_LOST_ERROR 0

// The reply of an applied call never comes.
#define LEADERSHIP_TESTKIT_LOST_NEVER 1

// Why a call of the test server failed. NULL is success. Immutable: any thread, until it is freed.
typedef struct leadership_testkit_error leadership_testkit_error;

// A call that is parked, or is to be. Any thread. Freeing it releases nothing.
typedef struct leadership_testkit_held leadership_testkit_held;

// A key as it was in the store. Immutable: any thread, until it is freed.
typedef struct leadership_testkit_kv leadership_testkit_kv;

// A test server: one etcd member in memory that listens on a socket. Any thread, several at once.
typedef struct leadership_testkit_server leadership_testkit_server;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What went wrong, for people: NUL-terminated UTF-8 that lives as long as the error. For NULL: an empty text.
//
// # Safety
// `error` is NULL or an error that is not freed yet.
const char *leadership_testkit_error_message(const leadership_testkit_error *error);

// Frees an error. NULL: nothing.
//
// # Safety
// `error` is NULL or an error that is not freed yet.
void leadership_testkit_error_free(leadership_testkit_error *error);

// Refuses the next `count` calls of this kind as a dead port does: nothing is sent.
//
// # Safety
// `server` is NULL or alive.
leadership_testkit_error *leadership_testkit_server_refuse(const leadership_testkit_server *server,
                                                           uint32_t method,
                                                           uint64_t count);

// Swallows calls of this kind from now on: they reach nobody and never return. `leadership_testkit_server_heal` ends it
// for later calls. Streams that are open are silenced.
//
// # Safety
// `server` is NULL or alive.
leadership_testkit_error *leadership_testkit_server_hang(const leadership_testkit_server *server,
                                                         uint32_t method);

// Ends all faults that concern calls made from now on, and breaks the streams that were silenced, as a network that
// comes back does. What hangs goes on hanging, what is parked waits for its handle.
//
// # Safety
// `server` is NULL or alive.
leadership_testkit_error *leadership_testkit_server_heal(const leadership_testkit_server *server);

// Lets the next `count` calls of this kind be applied and loses their replies, in the way that `lost` says
// (`LEADERSHIP_TESTKIT_LOST_*`).
//
// # Safety
// `server` is NULL or alive.
leadership_testkit_error *leadership_testkit_server_drop_replies(const leadership_testkit_server *server,
                                                                 uint32_t method,
                                                                 uint64_t count,
                                                                 uint32_t lost);

// Breaks the open streams of this kind (`LEADERSHIP_TESTKIT_METHOD_ANY`: all).
//
// # Safety
// `server` is NULL or alive.
leadership_testkit_error *leadership_testkit_server_break_streams(const leadership_testkit_server *server,
                                                                  uint32_t method);

// Parks the `nth` call of this kind from now on (1 = the next) before it reaches the store, until it is released,
// even if its client has gone away meanwhile. `held` is the caller's, for `leadership_testkit_held_free`.
//
// # Safety
// `server` is NULL or alive; `held` is NULL or may be written.
leadership_testkit_error *leadership_testkit_server_hold(const leadership_testkit_server *server,
                                                         uint32_t method,
                                                         uint64_t nth,
                                                         leadership_testkit_held **held);

// Waits, at most `timeout_ms` milliseconds, until the call has come. An error if it has not, or the server is stopped.
//
// # Safety
// `held` is NULL or not freed yet.
leadership_testkit_error *leadership_testkit_held_wait(const leadership_testkit_held *held,
                                                       uint64_t timeout_ms);

// Lets the call go on, now or as soon as it comes. Idempotent. NULL: nothing.
//
// # Safety
// `held` is NULL or not freed yet.
void leadership_testkit_held_release(const leadership_testkit_held *held);

// Frees the handle; a call that is not released is never delivered. NULL: nothing.
//
// # Safety
// `held` is NULL or not freed yet, and no other call on it is under way.
void leadership_testkit_held_free(leadership_testkit_held *held);

// Starts a test server on a thread of its own and returns when it listens. `listen` is "host:port", port 0 for a free
// one; NULL: a free port on 127.0.0.1. `server` is the caller's, for `leadership_testkit_server_free`.
//
// Errors: `listen` is not UTF-8, is no address or is taken; `server` is NULL.
//
// # Safety
// `listen` is NULL or NUL-terminated; `server` is NULL or may be written.
leadership_testkit_error *leadership_testkit_server_start(const char *listen,
                                                          leadership_testkit_server **server);

// Where it listens, "host:port": NUL-terminated, lives as long as the server, stays the same after a stop. NULL for NULL.
//
// # Safety
// `server` is NULL or not freed yet.
const char *leadership_testkit_server_endpoint(const leadership_testkit_server *server);

// Closes the port, cuts every connection and ends the thread: what a client sees of a killed server. Returns when the
// port is free. Its store can still be looked at. Idempotent. NULL: nothing.
//
// # Safety
// `server` is NULL or not freed yet.
void leadership_testkit_server_stop(const leadership_testkit_server *server);

// Stops and frees it. NULL: nothing.
//
// # Safety
// `server` is NULL or not freed yet, and no other call on it is under way.
void leadership_testkit_server_free(leadership_testkit_server *server);

// Reads a key, whoever wrote it: `kv` is NULL when it is absent, else the caller's, for `leadership_testkit_kv_free`.
//
// # Safety
// `server` is NULL or alive, `key` is NULL or NUL-terminated, `kv` is NULL or may be written.
leadership_testkit_error *leadership_testkit_server_get(const leadership_testkit_server *server,
                                                        const char *key,
                                                        leadership_testkit_kv **kv);

// Its value: `*len` bytes that live as long as `kv`. `len` may be NULL. NULL for NULL.
//
// # Safety
// `kv` is NULL or not freed yet; `len` is NULL or may be written.
const uint8_t *leadership_testkit_kv_value(const leadership_testkit_kv *kv, uintptr_t *len);

// The revision at which it came into being; 0 for NULL.
//
// # Safety
// `kv` is NULL or not freed yet.
int64_t leadership_testkit_kv_create_revision(const leadership_testkit_kv *kv);

// The revision of its last put; 0 for NULL.
//
// # Safety
// `kv` is NULL or not freed yet.
int64_t leadership_testkit_kv_mod_revision(const leadership_testkit_kv *kv);

// The lease it hangs on, 0 for none and for NULL.
//
// # Safety
// `kv` is NULL or not freed yet.
int64_t leadership_testkit_kv_lease(const leadership_testkit_kv *kv);

// Frees it. NULL: nothing.
//
// # Safety
// `kv` is NULL or not freed yet.
void leadership_testkit_kv_free(leadership_testkit_kv *kv);

// A stranger's put. `lease` is taken as it is, 0 for none. `revision` (may be NULL) gets the put's.
//
// # Safety
// `server` is NULL or alive, `key` is NULL or NUL-terminated, `value` is NULL or has `value_len` bytes, `revision` is
// NULL or may be written.
leadership_testkit_error *leadership_testkit_server_put(const leadership_testkit_server *server,
                                                        const char *key,
                                                        const uint8_t *value,
                                                        uintptr_t value_len,
                                                        int64_t lease,
                                                        int64_t *revision);

// A stranger's delete of one key. `deleted` (may be NULL): whether it was there.
//
// # Safety
// `server` is NULL or alive, `key` is NULL or NUL-terminated, `deleted` is NULL or may be written.
leadership_testkit_error *leadership_testkit_server_delete(const leadership_testkit_server *server,
                                                           const char *key,
                                                           bool *deleted);

// Ends the lease that this key hangs on, as its clock would. An error if the key is absent or hangs on none.
//
// # Safety
// `server` is NULL or alive, `key` is NULL or NUL-terminated.
leadership_testkit_error *leadership_testkit_server_expire_key(const leadership_testkit_server *server,
                                                               const char *key);

// Revokes a lease behind its holder's back. An error if there is no such lease.
//
// # Safety
// `server` is NULL or alive.
leadership_testkit_error *leadership_testkit_server_revoke(const leadership_testkit_server *server,
                                                           int64_t lease);

// How many leases there are: a campaign that failed leaves none behind.
//
// # Safety
// `server` is NULL or alive, `count` is NULL or may be written.
leadership_testkit_error *leadership_testkit_server_leases(const leadership_testkit_server *server,
                                                           uintptr_t *count);

// Compacts everything up to now. `revision` (may be NULL) gets the revision compacted.
//
// # Safety
// `server` is NULL or alive, `revision` is NULL or may be written.
leadership_testkit_error *leadership_testkit_server_compact(const leadership_testkit_server *server,
                                                            int64_t *revision);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LEADERSHIP_TESTKIT_H */
