/*
 * Leadership: leader election with provable authority, on etcd.
 *
 * Conventions, which hold for every function unless it says otherwise:
 *
 * Arguments   Self, inputs, timeout and cancel, outputs. Outputs must not be NULL, and are written only on success.
 * Errors      A function that can fail returns leadership_error *: NULL is success; anything else is the caller's, to
 *             be freed with leadership_error_free. Bad arguments (NULL, text that is not UTF-8, sizes above 64 MiB,
 *             numbers out of range) are LEADERSHIP_ERROR_INVALID_ARGUMENT, and name the argument. Any function may
 *             also fail with LEADERSHIP_ERROR_CLOSED (after leadership_client_close), LEADERSHIP_ERROR_FORKED (in a
 *             child of the process that connected; every handle is dead there) and LEADERSHIP_ERROR_INTERNAL (a bug).
 * Ownership   What is written to an output belongs to the caller, until the type's _free. What an accessor returns is
 *             borrowed: it lives as long as the object that was asked. Inputs are copied before the call returns.
 *             _free(NULL) does nothing; _free never blocks (leadership_client_free: see there). Objects may be freed
 *             in any order: what needs another keeps it alive inside.
 * Threads     An object taken as a pointer to const may be used by any number of threads at once; one taken as a
 *             pointer to non-const by one at a time. Nobody may use it while or after it is freed.
 * Text        In and out: UTF-8, NUL-terminated. Keys and values are pointer and length and hold any bytes; length 0
 *             is allowed with a NULL pointer.
 * Waiting     What waits takes timeout_ms (0: do not wait; LEADERSHIP_FOREVER) and a leadership_cancel or NULL. Out
 *             of time is LEADERSHIP_ERROR_TIMEOUT, cancelled is LEADERSHIP_ERROR_CANCELLED; what had begun is undone
 *             as the function says. Forms that end in _start never wait: what they do has begun when they return,
 *             and they call `done` once, later.
 * Callbacks   (function, user_data, drop). A client's callbacks all run on one thread of its own, one after the other,
 *             no locks held: they must return quickly, must not throw and must not longjmp. drop (or NULL) is called
 *             once with user_data after the last call of the function; if registering fails, neither is ever called.
 *             leadership_client_close from a callback is an error, for it would wait for that callback; what ends in
 *             _start, and every _free, may be called from one.
 */

#ifndef LEADERSHIP_H
#define LEADERSHIP_H

/* Generated from ffi/src by cbindgen (make header). Do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ==
#define LEADERSHIP_COMPARE_EQUAL 1

// !=
#define LEADERSHIP_COMPARE_NOT_EQUAL 2

// >
#define LEADERSHIP_COMPARE_GREATER 3

// <
#define LEADERSHIP_COMPARE_LESS 4

// An argument is unusable; nothing was sent. The message begins with the argument's name.
#define LEADERSHIP_ERROR_INVALID_ARGUMENT 1

// No member of etcd could serve the call; it was not applied. Retriable.
#define LEADERSHIP_ERROR_UNAVAILABLE 2

// The time was up. Retriable.
#define LEADERSHIP_ERROR_TIMEOUT 3

// The caller's leadership_cancel, or a reset, ended the call.
#define LEADERSHIP_ERROR_CANCELLED 4

// Another holds the key.
#define LEADERSHIP_ERROR_NOT_ELECTED 5

// A compare that was added to a campaign did not hold.
#define LEADERSHIP_ERROR_COMPARE_FAILED 6

// A call on a term that has ended, or without a term; see leadership_error_reason.
#define LEADERSHIP_ERROR_NOT_LEADER 7

// A write may or may not have been applied; the message says what to read.
#define LEADERSHIP_ERROR_OUTCOME_UNKNOWN 8

// etcd's roles do not allow it, or user and password are wrong.
#define LEADERSHIP_ERROR_PERMISSION_DENIED 9

// A member of another cluster answered, or the cluster was wiped or restored.
#define LEADERSHIP_ERROR_CLUSTER_CHANGED 10

// The client was closed.
#define LEADERSHIP_ERROR_CLOSED 11

// This is a child of the process that owns the client: connect anew.
#define LEADERSHIP_ERROR_FORKED 12

// A bug in this library.
#define LEADERSHIP_ERROR_INTERNAL 13

// Not lost, or there never was a term.
#define LEADERSHIP_REASON_NONE 0

// No confirmed renewal in time.
#define LEADERSHIP_REASON_EXPIRED 1

// etcd said that the lease is gone, before any delete event.
#define LEADERSHIP_REASON_REVOKED 2

// The key was deleted while the lease lived.
#define LEADERSHIP_REASON_KEY_DELETED 3

// The key was overwritten by another.
#define LEADERSHIP_REASON_OVERWRITTEN 4

// The key was handed to a successor.
#define LEADERSHIP_REASON_HANDED_OVER 5

// The holder resigned, reset or freed it.
#define LEADERSHIP_REASON_RESIGNED 6

// The health check failed.
#define LEADERSHIP_REASON_UNHEALTHY 7

// The election was paused.
#define LEADERSHIP_REASON_PAUSED 8

// The client was closed.
#define LEADERSHIP_REASON_CLOSED 9

// This is a forked child.
#define LEADERSHIP_REASON_FORKED 10

// The clock jumped past the deadline (suspend).
#define LEADERSHIP_REASON_SUSPENDED 11

// Another cluster answers now.
#define LEADERSHIP_REASON_CLUSTER_CHANGED 12

// etcd refused a guarded write.
#define LEADERSHIP_REASON_GUARD_FAILED 13

// Does not campaign: another leads, nobody wants a term, or it holds back.
#define LEADERSHIP_STATE_FOLLOWER 1

// A campaign is under way.
#define LEADERSHIP_STATE_CAMPAIGNING 2

// Holds the key, and waits the takeover delay.
#define LEADERSHIP_STATE_DELAYED 3

// Leads.
#define LEADERSHIP_STATE_LEADING 4

// Leads, but renewals are not confirmed.
#define LEADERSHIP_STATE_JEOPARDY 5

// The term was given up, and is renewed until its holder lets go of it.
#define LEADERSHIP_STATE_DRAINING 6

// The election is paused.
#define LEADERSHIP_STATE_PAUSED 7

// Ended for good.
#define LEADERSHIP_STATE_STOPPED 8

// The leader key itself, as the PD election package has it.
#define LEADERSHIP_MODE_SINGLE_KEY 1

// The key is a prefix, and candidates wait in line under it, as etcd's own clients do.
#define LEADERSHIP_MODE_QUEUE 2

// A campaign began.
#define LEADERSHIP_EVENT_CAMPAIGNING 1

// A term began; leadership_event_term lends it.
#define LEADERSHIP_EVENT_ELECTED 2

// No renewal was confirmed for two renewal intervals; leadership_event_remaining_ns says how long the term stays valid
// without one.
#define LEADERSHIP_EVENT_JEOPARDY 3

// Renewals are confirmed again.
#define LEADERSHIP_EVENT_SECURED 4

// The term was lost; leadership_event_reason says why. Exactly one for each LEADERSHIP_EVENT_ELECTED.
#define LEADERSHIP_EVENT_LOST 5

// Another leads now; leadership_event_leader lends who.
#define LEADERSHIP_EVENT_LEADER 6

// Nobody leads.
#define LEADERSHIP_EVENT_VACANT 7

// The election was paused.
#define LEADERSHIP_EVENT_PAUSED 8

// Nothing comes any more; leadership_event_error lends why, or NULL for an orderly end. The last event.
#define LEADERSHIP_EVENT_STOPPED 9

// Nothing is logged.
#define LEADERSHIP_LOG_OFF 0

// Something that needs somebody's attention.
#define LEADERSHIP_LOG_ERROR 1

// Something that is not as it should be.
#define LEADERSHIP_LOG_WARN 2

// What happens in the large.
#define LEADERSHIP_LOG_INFO 3

// What happens in detail.
#define LEADERSHIP_LOG_DEBUG 4

// Everything.
#define LEADERSHIP_LOG_TRACE 5

// A key was written.
#define LEADERSHIP_REPLY_PUT 1

// Keys were deleted; leadership_txn_reply_deleted says how many.
#define LEADERSHIP_REPLY_DELETE 2

// Keys were read.
#define LEADERSHIP_REPLY_GET 3

// The candidate with this value; of several with the same, the first in the order of turns.
#define LEADERSHIP_SUCCESSOR_NAMED 1

// Any candidate.
#define LEADERSHIP_SUCCESSOR_RANDOM 2

// The candidate of the highest priority; of equal ones, who registered first. In a queue: the next in line.
#define LEADERSHIP_SUCCESSOR_HIGHEST 3

// The timeout that never comes.
#define LEADERSHIP_FOREVER 18446744073709551615ull

// The leader's key is gone, or was, and another holds it now.
#define LEADERSHIP_WATCH_DELETED 1

// The key was written again: a primary watch only.
#define LEADERSHIP_WATCH_OVERWRITTEN 2

// The handle was reset.
#define LEADERSHIP_WATCH_CANCELLED 3

// The client was closed.
#define LEADERSHIP_WATCH_CLOSED 4

// Bytes, e.g. a value. Any thread.
typedef struct leadership_bytes leadership_bytes;

// Options of a campaign: its value, TTL and conditions. Copied by each campaign.
typedef struct leadership_campaign_options leadership_campaign_options;

// Ends every wait it was given to, now and later: triggered once, it stays so. Any thread.
typedef struct leadership_cancel leadership_cancel;

// A connection to one etcd cluster, with a thread for all that goes to and from etcd, and a second one once there are
// callbacks. Any thread.
typedef struct leadership_client leadership_client;

// Options of a client. Limits are checked by leadership_client_connect, which copies them: one object serves many.
typedef struct leadership_client_options leadership_client_options;

// One condition on one key; copied wherever it is added. An absent key has revisions, version and lease 0, and a
// condition on its value does not hold. Any thread.
typedef struct leadership_compare leadership_compare;

// One election of the queue kind: candidates wait in line, each for the one before it, as those of etcd's own clients do,
// with which it contends (concurrency.Election of the Go client, etcdctl elect and lock). Any thread.
typedef struct leadership_election leadership_election;

// Runs one election for this process: campaigns while somebody wants a term, keeps it, tells of its loss in time, drains
// before it lets go, backs off, campaigns again. Any thread.
typedef struct leadership_elector leadership_elector;

// Options of a leadership_elector. Limits are checked by leadership_elector_start, which copies them.
typedef struct leadership_elector_options leadership_elector_options;

// Why a call failed. Owned by whoever got it; any thread.
typedef struct leadership_error leadership_error;

// Something that happened. Lent to a callback for the time of the call; what leadership_elector_next_event and
// leadership_observer_next give is the caller's.
typedef struct leadership_event leadership_event;

// One contender of the single-key election of one key; every step is in the caller's hands. Any thread.
typedef struct leadership_handle leadership_handle;

// A key as etcd holds it; borrowed from a reply. Any thread.
typedef struct leadership_key_value leadership_key_value;

// Who led an election when it was read. Any thread.
typedef struct leadership_leader leadership_leader;

// A lease of etcd's. Freeing the last handle of it, leaderships' own included, queues its revoke. Any thread.
typedef struct leadership_lease leadership_lease;

// A view of one election from outside: who leads, vacancies, and why the view ended. Any number of them share their
// client's one watch stream. Any thread.
typedef struct leadership_observer leadership_observer;

// An operator's view of one single-key election, and hand on it: for tools and people, not for candidates. Nothing needs
// the holder's consent; whatever is done is guarded by the term that was seen when the call began, and marked as an
// operator's word, so that the next leader waits its takeover delay. Any thread.
//
// Without `wait` the operator vouches that the deposed leader stops in time: it hears of it within milliseconds if it is
// well, and no later than its own deadline if it is not; a successor may lead before that. With `wait` the operator takes
// the key first and waits as long as the old lease was granted for: no two terms overlap, and nobody leads meanwhile.
typedef struct leadership_operator leadership_operator;

// Options of a leadership_handle. Limits are checked by leadership_new, which copies them.
typedef struct leadership_options leadership_options;

// One of them. Borrowed, but for the one that a transfer gives, which is the caller's. Any thread.
typedef struct leadership_participant leadership_participant;

// Everybody who took part in an election when it was read, in the order of their turns, the leader first. Any thread.
typedef struct leadership_participants leadership_participants;

// A lease that several electors of one client share, by leadership_elector_options_set_lease: one renewal for all of them,
// and one fate. When it dies, every term on it ends, and the next campaigns are under a fresh one. One elector's end does
// not touch the others. Any thread.
typedef struct leadership_shared_lease leadership_shared_lease;

// One term: one uninterrupted reign. The one that leadership_elector_next_term, leadership_election_campaign or
// leadership_client_lead gives is the caller's own: freeing it resigns, and it may outlive its elector. Every other is a
// view of it: freeing that resigns nothing. Any thread.
typedef struct leadership_term leadership_term;

// A transaction that etcd applies only while this very term holds the key: if the conditions hold, the `then`
// operations, else the `else` operations, all as one. If the term is over, nothing of it is applied, `else` included.
// At most 126 conditions, and 126 operations a branch; none may touch the leader key or what belongs to it (checked
// at the commit).
typedef struct leadership_txn leadership_txn;

// What a transaction answered: one reply for each operation of the branch that was applied. Any thread.
typedef struct leadership_txn_reply leadership_txn_reply;

// Completion of leadership_campaign_start. Exactly one of error and term is not NULL, and it is the callback's to free.
typedef void (*leadership_campaign_done)(void *user_data, leadership_error *error, leadership_term *term);

// Lets go of user_data; called once, after the last call of the callback that it was registered with, on the same
// thread.
typedef void (*leadership_drop)(void *user_data);

// Completion of what answers nothing but how it went: error is NULL or the callback's to free.
typedef void (*leadership_done)(void *user_data, leadership_error *error);

// Completion of leadership_client_get_leader_start: error is NULL or the callback's to free, and so is leader, which is
// NULL if nobody leads.
typedef void (*leadership_leader_done)(void *user_data, leadership_error *error, leadership_leader *leader);

// Completion of what gives a term: error is NULL or the callback's to free, and so is term.
typedef void (*leadership_term_done)(void *user_data, leadership_error *error, leadership_term *term);

// Completion of what reads participants. Exactly one of error and participants is not NULL, and it is the callback's to
// free.
typedef void (*leadership_participants_done)(void *user_data,
                                             leadership_error *error,
                                             leadership_participants *participants);

// Told of an event; it is lent for the time of the call.
typedef void (*leadership_event_callback)(void *user_data, const leadership_event *event);

// Says whether this process is well enough to lead: NULL if so, else what is wrong, as text that stays as it is until
// the next call.
typedef const char *(*leadership_health_check)(void *user_data);

// Completion of leadership_lease_grant_start. Exactly one of error and lease is not NULL, and it is the callback's to
// free.
typedef void (*leadership_lease_done)(void *user_data, leadership_error *error, leadership_lease *lease);

// Told of one record: level is LEADERSHIP_LOG_*, target the part of the program that logs, both texts lent for the time
// of the call.
typedef void (*leadership_log_callback)(void *user_data,
                                        uint32_t level,
                                        const char *target,
                                        const char *message);

// Completion of a transfer. Exactly one of error and participant is not NULL, and it is the callback's to free.
typedef void (*leadership_transfer_done)(void *user_data,
                                         leadership_error *error,
                                         leadership_participant *participant);

// Completion of what answers yes or no: error is NULL or the callback's to free, and then `yes` is false.
typedef void (*leadership_bool_done)(void *user_data, leadership_error *error, bool yes);

// Completion of leadership_term_wait_lost_start: error is NULL or the callback's to free; reason as there.
typedef void (*leadership_lost_done)(void *user_data, leadership_error *error, uint32_t reason);

// Completion of leadership_txn_commit_start. Exactly one of error and reply is not NULL, and it is the callback's to
// free.
typedef void (*leadership_txn_done)(void *user_data, leadership_error *error, leadership_txn_reply *reply);

// Completion of leadership_watch_start: error is NULL or the callback's to free, and then kind is 0; the rest as there.
typedef void (*leadership_watch_done)(void *user_data,
                                      leadership_error *error,
                                      uint32_t kind,
                                      int64_t end_revision);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version as text, e.g. "0.1.0". Static: valid for ever, never freed. Any thread.
const char *leadership_version(void);

// The bytes, borrowed; their number goes to *len (may be NULL). NULL and 0 for NULL; with length 0 the pointer must
// not be read.
const uint8_t *leadership_bytes_data(const leadership_bytes *bytes,
                                     size_t *len);

// Frees bytes.
void leadership_bytes_free(leadership_bytes *bytes);

// Every option at its default. Free it with leadership_options_free.
leadership_error *leadership_options_new(leadership_options **options);

// What the leadership is for; appears in logs and errors.
leadership_error *leadership_options_set_purpose(leadership_options *options, const char *purpose);

// How long a winner waits when the key went without its holder's word (default 100; at most a day). 0 takes the risk
// of an overlap on an etcd leader that revokes too early; the TTL excludes it for holders of any library.
leadership_error *leadership_options_set_takeover_delay(leadership_options *options,
                                                        uint64_t ms);

// How long before the deadline a term is lost (default TTL/10, at least 100).
leadership_error *leadership_options_set_step_down_margin(leadership_options *options, uint64_t ms);

// The window in which campaigns are counted (default 300000).
leadership_error *leadership_options_set_campaign_window(leadership_options *options, uint64_t ms);

// A primary watch also ends on an overwrite (default false).
leadership_error *leadership_options_set_primary_watch(leadership_options *options, bool primary);

// Frees options; handles made with them stay as they are.
void leadership_options_free(leadership_options *options);

// No value, a TTL of 5 s, no conditions. Free it with leadership_campaign_options_free.
leadership_error *leadership_campaign_options_new(leadership_campaign_options **options);

// The value of the leader key while this campaign's term lasts, e.g. the address of the service.
leadership_error *leadership_campaign_options_set_value(leadership_campaign_options *options,
                                                        const uint8_t *value,
                                                        size_t value_len);

// The TTL to ask for (default 5000); rounded up to whole seconds, and etcd may raise it. Ignored with a lease set by
// leadership_set_lease.
leadership_error *leadership_campaign_options_set_ttl(leadership_campaign_options *options,
                                                      uint64_t ms);

// Adds a condition that must hold in the same transaction that takes the key (at most 126). Copied.
leadership_error *leadership_campaign_options_add_compare(leadership_campaign_options *options,
                                                          const leadership_compare *compare);

// Frees options; campaigns under way go on.
void leadership_campaign_options_free(leadership_campaign_options *options);

// Tries to take the key, once. Success means: this process leads, proven. The term lives until its lease's deadline,
// and longer once leadership_keep is called. After a failed campaign the next one waits for a jittered back-off (50 ms
// to 2 s). If it fails, is cancelled or runs out of time, no key and no lease are left behind (at the latest one TTL
// after etcd can be reached again).
//
// options: or NULL for the defaults. term: a view, to be freed with leadership_term_free.
// Errors: NOT_ELECTED (says who holds the key), COMPARE_FAILED, INVALID_ARGUMENT, UNAVAILABLE (also while another
// campaign of this handle is under way; one that is being given up is waited for), TIMEOUT, CANCELLED (also by
// leadership_reset), PERMISSION_DENIED, CLUSTER_CHANGED, CLOSED.
leadership_error *leadership_campaign(const leadership_handle *handle,
                                      const leadership_campaign_options *options,
                                      uint64_t timeout_ms,
                                      const leadership_cancel *cancel,
                                      leadership_term **term);

// leadership_campaign without waiting: `done` is called once. leadership_free and leadership_client_close end it early
// (CANCELLED, CLOSED).
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_campaign_start(const leadership_handle *handle,
                                            const leadership_campaign_options *options,
                                            const leadership_cancel *cancel,
                                            leadership_campaign_done done,
                                            void *user_data,
                                            leadership_drop drop);

// A cancel that is not triggered. Free it with leadership_cancel_free.
leadership_error *leadership_cancel_new(leadership_cancel **cancel);

// Ends every wait that has this cancel, those to come included. Idempotent, never blocks; any thread, not a signal
// handler.
leadership_error *leadership_cancel_trigger(const leadership_cancel *cancel);

// Frees a cancel. A blocking call that was given it must have returned; completions that were given it go on, and can
// no longer be cancelled.
void leadership_cancel_free(leadership_cancel *cancel);

// Checks the endpoints and starts the client's thread. Sends nothing: a dead etcd is found out by
// leadership_client_ready or the first call. Never blocks.
//
// At the process's orderly end, exit() from any thread or the return from main, clients that are still open are closed
// by a handler of atexit: keys are released then (after a drain of 500 ms at most, for terms that an elector handed out),
// callbacks are told of the loss, and the end is held up for 2 s at most, whatever etcd does. _exit, a signal's default action and abort close nothing: what is held goes with its lease.
// The library is never unloaded, dlclose or not.
//
// The client's thread takes no signals: they come to the program's own threads, and a connection that breaks under a
// write raises no SIGPIPE.
//
// endpoints: the members of one cluster, comma-separated, each as host:port, http://host:port or https://host:port;
// NULL only with the options of leadership_client_options_from_environment.
// options: or NULL for the defaults; copied. client: to be closed, and freed with leadership_client_free.
// Errors: INVALID_ARGUMENT names the option.
leadership_error *leadership_client_connect(const char *endpoints,
                                            const leadership_client_options *options,
                                            leadership_client **client);

// Waits until a member of etcd answers and knows a leader.
//
// Errors: UNAVAILABLE when the time is up (says what each member answered), CANCELLED, PERMISSION_DENIED,
// CLUSTER_CHANGED, CLOSED.
leadership_error *leadership_client_ready(const leadership_client *client,
                                          uint64_t timeout_ms,
                                          const leadership_cancel *cancel);

// leadership_client_ready without waiting or a timeout: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_client_ready_start(const leadership_client *client,
                                                const leadership_cancel *cancel,
                                                leadership_done done,
                                                void *user_data,
                                                leadership_drop drop);

// Who leads the single-key election of a key, read linearizably.
//
// leader: NULL if nobody leads; else to be freed with leadership_leader_free.
// Errors: INVALID_ARGUMENT (key), UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
leadership_error *leadership_client_get_leader(const leadership_client *client,
                                               const uint8_t *key,
                                               size_t key_len,
                                               uint64_t timeout_ms,
                                               const leadership_cancel *cancel,
                                               leadership_leader **leader);

// leadership_client_get_leader without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_client_get_leader_start(const leadership_client *client,
                                                     const uint8_t *key,
                                                     size_t key_len,
                                                     const leadership_cancel *cancel,
                                                     leadership_leader_done done,
                                                     void *user_data,
                                                     leadership_drop drop);

// Ends every term of this client (LEADERSHIP_REASON_CLOSED), releases their keys and leases, and stops its threads; terms
// of electors are drained first, as by leadership_elector_close. When it returns success, the last callback has returned
// and every drop has been called (a health check's: see leadership_elector_options_set_health_check). Idempotent; other
// threads' waits end with CLOSED.
//
// Errors: TIMEOUT when not everything was confirmed in time (10 s at most): it goes on in the background, and calling
// this again waits again; CANCELLED; INVALID_ARGUMENT from a callback, which it would wait for.
leadership_error *leadership_client_close(const leadership_client *client,
                                          uint64_t timeout_ms,
                                          const leadership_cancel *cancel);

// leadership_client_close without waiting: every term ends now, and `done` is called once, after every other callback
// and drop but those of further such calls. May be called from a callback. A cancel ends the wait, not the release.
//
// Errors: INVALID_ARGUMENT (NULL); all others go to `done`.
leadership_error *leadership_client_close_start(const leadership_client *client,
                                                const leadership_cancel *cancel,
                                                leadership_done done,
                                                void *user_data,
                                                leadership_drop drop);

// Frees the client. What was made with it keeps it going inside, until that is freed too; then everything ends as with
// leadership_client_close, in the background. If nothing else is left, this waits up to 500 ms for what other _free
// calls have queued (not from a callback).
void leadership_client_free(leadership_client *client);

// Every option at its default. Free it with leadership_client_options_free.
leadership_error *leadership_client_options_new(leadership_client_options **options);

// Takes endpoints, user and certificates from the environment: LEADERSHIP_ENDPOINTS (else 127.0.0.1:2379), _USER (name
// or name:password), _PASSWORD, and the files _TLS_CA, _TLS_CERT and _TLS_KEY, each also as the ETCDCTL_ variable that
// etcdctl reads. With such options leadership_client_connect may be given NULL for the endpoints. Reads files; not
// while another thread changes the environment.
//
// Errors: INVALID_ARGUMENT (user, tls_ca, tls_cert, tls_key): a half is missing, or a file cannot be read.
leadership_error *leadership_client_options_from_environment(leadership_client_options *options);

// User and password of etcd's own authentication.
leadership_error *leadership_client_options_set_credentials(leadership_client_options *options,
                                                            const char *user,
                                                            const char *password);

// Encrypts, and trusts these authorities (PEM). Of length 0: encrypts, and trusts the system's.
leadership_error *leadership_client_options_set_ca(leadership_client_options *options,
                                                   const uint8_t *pem,
                                                   size_t pem_len);

// Encrypts, and presents this certificate with its private key (both PEM) to etcd.
leadership_error *leadership_client_options_set_identity(leadership_client_options *options,
                                                         const uint8_t *cert_pem,
                                                         size_t cert_pem_len,
                                                         const uint8_t *key_pem,
                                                         size_t key_pem_len);

// As leadership_client_options_set_ca, from a file, which is read again for each new connection.
leadership_error *leadership_client_options_set_ca_file(leadership_client_options *options, const char *path);

// As leadership_client_options_set_identity, from files, which are read again for each new connection: certificates are
// renewed by writing them anew.
leadership_error *leadership_client_options_set_identity_files(leadership_client_options *options,
                                                               const char *cert_path,
                                                               const char *key_path);

// Puts this prefix in front of every key, as etcd's namespace package does.
leadership_error *leadership_client_options_set_namespace(leadership_client_options *options,
                                                          const uint8_t *prefix,
                                                          size_t prefix_len);

// How long a request may take in all (default 2000; 10 to 3600000).
leadership_error *leadership_client_options_set_request_timeout(leadership_client_options *options,
                                                                uint64_t ms);

// By how much clock rates may differ between the machines involved, in parts per million (default 10000 = 1 %; at
// most 100000).
leadership_error *leadership_client_options_set_drift(leadership_client_options *options,
                                                      uint64_t ppm);

// How often watched keys are read again (default 15000, plus or minus 20 %; 100 to 86400000): a bound for what a
// missed event can cost.
leadership_error *leadership_client_options_set_reread_interval(leadership_client_options *options,
                                                                uint64_t ms);

// Follows etcd's member list, read so often (1000 to 86400000) and soon after a fail-over; off unless set. The endpoints
// given to leadership_client_connect are never forgotten.
leadership_error *leadership_client_options_set_endpoint_sync(leadership_client_options *options,
                                                              uint64_t ms);

// Frees options; clients made with them stay as they are.
void leadership_client_options_free(leadership_client_options *options);

// Compares the revision at which the key was created (0 = absent). op: LEADERSHIP_COMPARE_*. compare: to be freed with
// leadership_compare_free. Errors: INVALID_ARGUMENT.
leadership_error *leadership_compare_create_revision(const uint8_t *key,
                                                     size_t key_len,
                                                     uint32_t op,
                                                     int64_t revision,
                                                     leadership_compare **compare);

// Compares the revision at which the key was last written; the rest as leadership_compare_create_revision.
leadership_error *leadership_compare_mod_revision(const uint8_t *key,
                                                  size_t key_len,
                                                  uint32_t op,
                                                  int64_t revision,
                                                  leadership_compare **compare);

// Compares how often the key was written since it was created; the rest as leadership_compare_create_revision.
leadership_error *leadership_compare_version(const uint8_t *key,
                                             size_t key_len,
                                             uint32_t op,
                                             int64_t version,
                                             leadership_compare **compare);

// Compares the id of the lease the key hangs on (0 = none); the rest as leadership_compare_create_revision.
leadership_error *leadership_compare_lease(const uint8_t *key,
                                           size_t key_len,
                                           uint32_t op,
                                           int64_t lease_id,
                                           leadership_compare **compare);

// Compares the value, byte by byte; the rest as leadership_compare_create_revision.
leadership_error *leadership_compare_value(const uint8_t *key,
                                           size_t key_len,
                                           uint32_t op,
                                           const uint8_t *value,
                                           size_t value_len,
                                           leadership_compare **compare);

// Frees a compare; where it was added it stays.
void leadership_compare_free(leadership_compare *compare);

// The error's number, LEADERSHIP_ERROR_*; 0 for NULL, which is success. Never renumbered.
uint32_t leadership_error_code(const leadership_error *error);

// The error's stable name, e.g. "NotElected"; borrowed. NULL for NULL.
const char *leadership_error_name(const leadership_error *error);

// What happened, for people; borrowed. NULL for NULL.
const char *leadership_error_message(const leadership_error *error);

// True if the same call may succeed when it is simply made again. False for NULL.
bool leadership_error_is_retriable(const leadership_error *error);

// Of LEADERSHIP_ERROR_NOT_LEADER: why the term ended, LEADERSHIP_REASON_*. LEADERSHIP_REASON_NONE for anything else.
uint32_t leadership_error_reason(const leadership_error *error);

// Of LEADERSHIP_ERROR_NOT_ELECTED: who holds the key, borrowed. NULL if that was not seen, and for anything else.
const leadership_leader *leadership_error_holder(const leadership_error *error);

// Of LEADERSHIP_ERROR_NOT_ELECTED, _COMPARE_FAILED and _NOT_LEADER: the key of the election as people read it (bytes
// that are no UTF-8 are escaped); borrowed. NULL for anything else.
const char *leadership_error_key(const leadership_error *error);

// Of LEADERSHIP_ERROR_INVALID_ARGUMENT: the name of the argument or option; borrowed. NULL for anything else.
const char *leadership_error_argument(const leadership_error *error);

// Of LEADERSHIP_ERROR_OUTCOME_UNKNOWN: what to read to find out, for people; borrowed. NULL for anything else.
const char *leadership_error_read(const leadership_error *error);

// Of LEADERSHIP_ERROR_CLUSTER_CHANGED: the endpoint whose answer showed it; borrowed. NULL for anything else.
const char *leadership_error_member(const leadership_error *error);

// Frees an error and what was borrowed from it.
void leadership_error_free(leadership_error *error);

// The stable name of a reason, e.g. "key_deleted". Static. NULL for a number that is no reason.
const char *leadership_reason_name(uint32_t reason);

// The election whose candidates' keys are prefix/lease. Nothing is sent.
//
// prefix: text, without a trailing slash. options: or NULL for the defaults; copied.
// election: to be freed with leadership_election_free.
// Errors: INVALID_ARGUMENT (prefix: empty, reserved, or ends in a slash; or names the option), CLOSED.
leadership_error *leadership_election_new(const leadership_client *client,
                                          const char *prefix,
                                          const leadership_options *options,
                                          leadership_election **election);

// What the candidates' keys start with, without the slash, borrowed; its length goes to *len (may be NULL). NULL and 0 for
// NULL.
const uint8_t *leadership_election_prefix(const leadership_election *election,
                                          size_t *len);

// Joins the queue and waits for its turn; the lease is renewed all the while. Out of time or cancelled, it leaves the
// queue. Any number of places at once: each call is one.
//
// options: or NULL for the defaults; conditions are not allowed. term: the caller's own: leadership_term_free resigns it.
// Errors: NOT_ELECTED if the own place was lost (its key deleted, its lease revoked): at once, not when the turn would have
// come; TIMEOUT, CANCELLED, INVALID_ARGUMENT, UNAVAILABLE, PERMISSION_DENIED, CLUSTER_CHANGED, CLOSED.
leadership_error *leadership_election_campaign(const leadership_election *election,
                                               const leadership_campaign_options *options,
                                               uint64_t timeout_ms,
                                               const leadership_cancel *cancel,
                                               leadership_term **term);

// leadership_election_campaign without waiting: `done` is called once, with exactly one of error and term. The election may
// be freed meanwhile.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_election_campaign_start(const leadership_election *election,
                                                     const leadership_campaign_options *options,
                                                     const leadership_cancel *cancel,
                                                     leadership_term_done done,
                                                     void *user_data,
                                                     leadership_drop drop);

// Who leads, read linearizably.
//
// leader: NULL if the queue is empty; else to be freed with leadership_leader_free.
// Errors: UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
leadership_error *leadership_election_leader(const leadership_election *election,
                                             uint64_t timeout_ms,
                                             const leadership_cancel *cancel,
                                             leadership_leader **leader);

// leadership_election_leader without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_election_leader_start(const leadership_election *election,
                                                   const leadership_cancel *cancel,
                                                   leadership_leader_done done,
                                                   void *user_data,
                                                   leadership_drop drop);

// All candidates, read linearizably.
//
// participants: to be freed with leadership_participants_free. Errors: as leadership_election_leader.
leadership_error *leadership_election_participants(const leadership_election *election,
                                                   uint64_t timeout_ms,
                                                   const leadership_cancel *cancel,
                                                   leadership_participants **participants);

// leadership_election_participants without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_election_participants_start(const leadership_election *election,
                                                         const leadership_cancel *cancel,
                                                         leadership_participants_done done,
                                                         void *user_data,
                                                         leadership_drop drop);

// Observes the election from now on: as leadership_observer_new. Where one waits in line, no vacancy lies between two
// leaders; the first in line is told of when its turn has come, though it may still wait its takeover delay.
//
// observer: to be freed with leadership_observer_free. Errors: CLOSED.
leadership_error *leadership_election_observe(const leadership_election *election,
                                              leadership_observer **observer);

// Another value for the term that this object won last, for whoever does not have it at hand: as leadership_term_proclaim.
leadership_error *leadership_election_proclaim(const leadership_election *election,
                                               const uint8_t *value,
                                               size_t value_len,
                                               uint64_t timeout_ms,
                                               const leadership_cancel *cancel);

// leadership_election_proclaim without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_election_proclaim_start(const leadership_election *election,
                                                     const uint8_t *value,
                                                     size_t value_len,
                                                     const leadership_cancel *cancel,
                                                     leadership_done done,
                                                     void *user_data,
                                                     leadership_drop drop);

// Gives up the term that this object won last, for whoever does not have it at hand: as leadership_term_resign, and the
// next in line follows. Without a term nothing happens.
//
// Errors: TIMEOUT, UNAVAILABLE, CANCELLED when etcd's answer was not waited for to the end: it goes on in the background.
// CLOSED.
leadership_error *leadership_election_resign(const leadership_election *election,
                                             uint64_t timeout_ms,
                                             const leadership_cancel *cancel);

// leadership_election_resign without waiting: not leader when this returns success, and `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_election_resign_start(const leadership_election *election,
                                                   const leadership_cancel *cancel,
                                                   leadership_done done,
                                                   void *user_data,
                                                   leadership_drop drop);

// Frees the election; campaigns under way and terms go on.
void leadership_election_free(leadership_election *election);

// An elector for the single-key election of a key. Nothing is sent, and nothing campaigns before the first
// leadership_elector_next_term or leadership_elector_run. Never blocks.
//
// key: text. options: or NULL for the defaults; copied. elector: to be freed with leadership_elector_free.
// Errors: INVALID_ARGUMENT (key: empty or reserved; or names the option), CLOSED.
leadership_error *leadership_elector_start(const leadership_client *client,
                                           const char *key,
                                           const leadership_elector_options *options,
                                           leadership_elector **elector);

// Waits for the next term of this process; campaigns from now on until somebody stops wanting one. There is one term at
// a time: while one is held and not lost, this waits for its end. Each term goes to one caller. One that came for nobody
// (out of time, cancelled) stays with the elector for a TTL, for the next caller, and is then resigned.
//
// term: NULL when the elector or its client was closed in order; else the caller's own: leadership_term_free resigns it.
// Errors: TIMEOUT, CANCELLED; or the elector stopped for good, and why: PERMISSION_DENIED, INVALID_ARGUMENT (margins that
// do not fit the TTL that etcd granted). What may pass (etcd away, another leads) is no error.
leadership_error *leadership_elector_next_term(const leadership_elector *elector,
                                               uint64_t timeout_ms,
                                               const leadership_cancel *cancel,
                                               leadership_term **term);

// leadership_elector_next_term without waiting: `done` is called once; error and term are both NULL when the elector was
// closed or freed.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_elector_next_term_start(const leadership_elector *elector,
                                                     const leadership_cancel *cancel,
                                                     leadership_term_done done,
                                                     void *user_data,
                                                     leadership_drop drop);

// One shot: campaigns until it leads. The term is the caller's own, renewed until it is lost or leadership_term_free
// resigns it; there is no second one.
//
// key: text. options: or NULL for the defaults. Errors: as leadership_elector_start and leadership_elector_next_term; out of
// time or cancelled, no key and no lease are left behind.
leadership_error *leadership_client_lead(const leadership_client *client,
                                         const char *key,
                                         const leadership_elector_options *options,
                                         uint64_t timeout_ms,
                                         const leadership_cancel *cancel,
                                         leadership_term **term);

// leadership_client_lead without waiting: `done` is called once, with exactly one of error and term.
//
// Errors: INVALID_ARGUMENT (NULL, key), CLOSED; all others go to `done`.
leadership_error *leadership_client_lead_start(const leadership_client *client,
                                               const char *key,
                                               const leadership_elector_options *options,
                                               const leadership_cancel *cancel,
                                               leadership_term_done done,
                                               void *user_data,
                                               leadership_drop drop);

// A view of the term that is led now, whoever holds it, for request handlers. Local.
//
// term: NULL while this process does not lead; else to be freed with leadership_term_free, which resigns nothing.
leadership_error *leadership_elector_current(const leadership_elector *elector,
                                             leadership_term **term);

// Does this process lead now? Local. False for NULL.
bool leadership_elector_is_leader(const leadership_elector *elector);

// Who leads, as this elector saw it last, for routing. Local.
//
// leader: NULL if nobody did, or nothing was heard yet; else to be freed with leadership_leader_free.
leadership_error *leadership_elector_leader(const leadership_elector *elector, leadership_leader **leader);

// Where the loop stands, LEADERSHIP_STATE_*; LEADERSHIP_STATE_STOPPED in a forked child, 0 for NULL.
uint32_t leadership_elector_state(const leadership_elector *elector);

// The stable name of a state, e.g. "follower". Static. NULL for a number that is no state.
const char *leadership_state_name(uint32_t state);

// For probes. Local.
//
// Errors: UNAVAILABLE (leading without confirmed renewals, or the health check fails: says which); the error that the
// elector stopped with; CLOSED.
leadership_error *leadership_elector_health(const leadership_elector *elector);

// The key of the election, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
const uint8_t *leadership_elector_key(const leadership_elector *elector, size_t *len);

// Changes the elector's value: of the term that is led now, in place (the same term and token), and of later campaigns.
// Without a term it only counts for later ones.
//
// Errors: as leadership_term_proclaim.
leadership_error *leadership_elector_proclaim(const leadership_elector *elector,
                                              const uint8_t *value,
                                              size_t value_len,
                                              uint64_t timeout_ms,
                                              const leadership_cancel *cancel);

// leadership_elector_proclaim without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_elector_proclaim_start(const leadership_elector *elector,
                                                    const uint8_t *value,
                                                    size_t value_len,
                                                    const leadership_cancel *cancel,
                                                    leadership_done done,
                                                    void *user_data,
                                                    leadership_drop drop);

// Gives the term up, in order: it is lost at once, drained (renewed until its holder has freed it, at most the drain
// timeout), then released. The elector goes on campaigning, after its cool-down, while somebody wants a term. Without a
// term nothing happens. From a callback: leadership_elector_resign_start.
//
// Errors: TIMEOUT, UNAVAILABLE, CANCELLED when the end was not waited for or not confirmed: it goes on in the background.
// CLOSED; INVALID_ARGUMENT from a callback, which may be what the drain waits for.
leadership_error *leadership_elector_resign(const leadership_elector *elector,
                                            uint64_t timeout_ms,
                                            const leadership_cancel *cancel);

// leadership_elector_resign without waiting: lost when this returns, and `done` is called once, when the key is gone or
// that was not confirmed in time. A cancel ends the wait, not the release.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_elector_resign_start(const leadership_elector *elector,
                                                  const leadership_cancel *cancel,
                                                  leadership_done done,
                                                  void *user_data,
                                                  leadership_drop drop);

// Stops campaigning, drains and releases the term, and ends the loop: waiting callers get NULL for a term. When it returns
// success, the last callback of this elector has returned and its drop was called. Idempotent.
//
// Errors: TIMEOUT, UNAVAILABLE, CANCELLED when the end was not waited for or not confirmed: it goes on in the background,
// and calling this again waits again. INVALID_ARGUMENT from a callback, which it would wait for.
leadership_error *leadership_elector_close(const leadership_elector *elector,
                                           uint64_t timeout_ms,
                                           const leadership_cancel *cancel);

// leadership_elector_close without waiting: the term is lost when this returns, and `done` is called once, when all is
// over in etcd. May be called from a callback. A cancel ends the wait, not the closing.
//
// Errors: INVALID_ARGUMENT (NULL); all others go to `done`.
leadership_error *leadership_elector_close_start(const leadership_elector *elector,
                                                 const leadership_cancel *cancel,
                                                 leadership_done done,
                                                 void *user_data,
                                                 leadership_drop drop);

// Frees the elector and closes it without waiting: a term that nobody took ends at once; one that was handed out is its
// holder's, and lasts until that frees it. Callbacks are told of the end, and go.
void leadership_elector_free(leadership_elector *elector);

// From now on `callback` is told of what happens to the elector; for a term that runs already it begins with its
// election. It only tells: terms come to leadership_elector_next_term. One that is slow hears the latest state, and never
// of the loss of a term that it was not told of. Ends after LEADERSHIP_EVENT_STOPPED; each registration is on its own.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED.
leadership_error *leadership_elector_on_event(const leadership_elector *elector,
                                              leadership_event_callback callback,
                                              void *user_data,
                                              leadership_drop drop);

// The elector for a program that is called: campaigns from now on, and tells `callback` what happens as
// leadership_elector_on_event does. Terms are the elector's own, lent by LEADERSHIP_EVENT_ELECTED; each is let go of when
// `callback` has returned from its LEADERSHIP_EVENT_LOST, which is when a drain ends: work that must be finished first is
// waited for there. The callback returns quickly from all else (over 100 ms is logged): long work runs on a thread of its
// own, with a leadership_term_clone. Not together with leadership_elector_next_term, which would be given some of the
// terms.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED.
leadership_error *leadership_elector_run(const leadership_elector *elector,
                                         leadership_event_callback callback,
                                         void *user_data,
                                         leadership_drop drop);

// Waits for the next event that no call of this has given yet, from the elector's start on. Nothing is queued: who comes
// late gets the latest state, and never the loss of a term that it was not told of. Each event goes to one caller.
//
// event: NULL after LEADERSHIP_EVENT_STOPPED; else to be freed with leadership_event_free. Errors: TIMEOUT, CANCELLED.
leadership_error *leadership_elector_next_event(const leadership_elector *elector,
                                                uint64_t timeout_ms,
                                                const leadership_cancel *cancel,
                                                leadership_event **event);

// A file descriptor that is readable while leadership_elector_next_event has something to give, its end included: for
// poll, epoll and event loops. It is the elector's: not to be read, written or closed, and gone when the elector is freed.
// What made it readable may be over by the time of the call: ask with a timeout of 0.
//
// Errors: INTERNAL if there is none left, CLOSED.
leadership_error *leadership_elector_fd(const leadership_elector *elector,
                                        int *fd);

// Every option at its default. Free it with leadership_elector_options_free.
leadership_error *leadership_elector_options_new(leadership_elector_options **options);

// What the others see of the leader, e.g. its address (default: nothing).
leadership_error *leadership_elector_options_set_value(leadership_elector_options *options,
                                                       const uint8_t *value,
                                                       size_t value_len);

// The TTL to ask for (default 5000); rounded up to whole seconds, and etcd may raise it.
leadership_error *leadership_elector_options_set_ttl(leadership_elector_options *options, uint64_t ms);

// What the election is for; appears in logs and errors.
leadership_error *leadership_elector_options_set_purpose(leadership_elector_options *options,
                                                         const char *purpose);

// As leadership_options_set_takeover_delay (default 100).
leadership_error *leadership_elector_options_set_takeover_delay(leadership_elector_options *options,
                                                                uint64_t ms);

// How long before the deadline a term is lost (default TTL/10, at least 100).
leadership_error *leadership_elector_options_set_step_down_margin(leadership_elector_options *options,
                                                                  uint64_t ms);

// How long a term that was given up in order is renewed on for its holder to finish (default 10000; at most a day).
leadership_error *leadership_elector_options_set_drain_timeout(leadership_elector_options *options,
                                                               uint64_t ms);

// How long not to campaign after a term was given up while it was valid, so that others win (default TTL/5).
leadership_error *leadership_elector_options_set_cool_down(leadership_elector_options *options, uint64_t ms);

// How many terms may be lost against this process's will within 5 min before it holds back for a TTL each time
// (default 3).
leadership_error *leadership_elector_options_set_campaign_limit(leadership_elector_options *options,
                                                                size_t terms);

// The kind of election, LEADERSHIP_MODE_* (default LEADERSHIP_MODE_SINGLE_KEY).
//
// Errors: INVALID_ARGUMENT (mode).
leadership_error *leadership_elector_options_set_mode(leadership_elector_options *options, uint32_t mode);

// Campaigns with this lease, which others may share, instead of one of its own; the TTL is the lease's. Of the same client
// as the elector. The handle may be freed at once.
leadership_error *leadership_elector_options_set_lease(leadership_elector_options *options,
                                                       const leadership_shared_lease *lease);

// Candidates of higher priority take a vacant key first (default 0). A lower one yields by a short delay, never more than a
// quarter of the TTL.
leadership_error *leadership_elector_options_set_priority(leadership_elector_options *options,
                                                          int64_t priority);

// Whether this elector, leading, hands over to a healthy candidate of higher priority (default false).
leadership_error *leadership_elector_options_set_take_back(leadership_elector_options *options, bool yields);

// Whether to hold a granted, registered lease while another leads (default true): a vacant key is taken in one transaction,
// and the leader can hand over to this candidate; it costs a renewal every TTL/2.5.
leadership_error *leadership_elector_options_set_warm(leadership_elector_options *options,
                                                      bool warm);

// A check that must have succeeded recently for this process to campaign and for its lease to be renewed: a leader
// whose disk hangs must not stay leader because a healthy thread renews for it. Each elector calls it several times a
// TTL, on a thread of its own, so it may block: that counts as not succeeding. leadership_elector_close does not wait
// for a check that is under way; drop is called once, when these options and every elector and term that was made with
// them are freed and no check is under way any more, on any thread.
leadership_error *leadership_elector_options_set_health_check(leadership_elector_options *options,
                                                              leadership_health_check check,
                                                              void *user_data,
                                                              leadership_drop drop);

// How old the last success of the health check may be (default, and at most, TTL/2).
leadership_error *leadership_elector_options_set_health_age(leadership_elector_options *options, uint64_t ms);

// Frees options; electors started with them stay as they are.
void leadership_elector_options_free(leadership_elector_options *options);

// What happened, LEADERSHIP_EVENT_*; ignore numbers that you do not know. 0 for NULL.
uint32_t leadership_event_kind(const leadership_event *event);

// Of LEADERSHIP_EVENT_ELECTED: the term, borrowed from the event (leadership_term_clone makes a view that stays).
// NULL for anything else.
const leadership_term *leadership_event_term(const leadership_event *event);

// Of LEADERSHIP_EVENT_JEOPARDY: what was left of the term, in nanoseconds. 0 for anything else.
uint64_t leadership_event_remaining_ns(const leadership_event *event);

// Of LEADERSHIP_EVENT_LOST: why, LEADERSHIP_REASON_*. LEADERSHIP_REASON_NONE for anything else.
uint32_t leadership_event_reason(const leadership_event *event);

// Of LEADERSHIP_EVENT_LEADER: who leads, borrowed. NULL for anything else.
const leadership_leader *leadership_event_leader(const leadership_event *event);

// Of LEADERSHIP_EVENT_LEADER that an observer tells: when it saw that term begin, in nanoseconds of CLOCK_BOOTTIME; 0 for a
// term that was there before it, whose beginning nobody knows, and for anything else.
uint64_t leadership_event_since_ns(const leadership_event *event);

// Of LEADERSHIP_EVENT_STOPPED: why, borrowed; NULL for an orderly end, and for anything else.
const leadership_error *leadership_event_error(const leadership_event *event);

// The stable name of a kind of event, e.g. "elected". Static. NULL for a number that is none.
const char *leadership_event_name(uint32_t kind);

// Frees an event that was not lent, and what was borrowed from it.
void leadership_event_free(leadership_event *event);

// From now on `callback` is told of what happens to the handle's terms, one that runs already included: elected, then
// jeopardy and secured, then lost. One that is slow hears the latest state, and never of the loss of a term that it was
// not told of. Ends with leadership_free or leadership_client_close, after the loss was told; each registration is on
// its own.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED.
leadership_error *leadership_on_event(const leadership_handle *handle,
                                      leadership_event_callback callback,
                                      void *user_data,
                                      leadership_drop drop);

// A contender. Nothing is sent.
//
// options: or NULL for the defaults; copied. handle: to be freed with leadership_free.
// Errors: INVALID_ARGUMENT (key: empty or reserved; or names the option), CLOSED.
leadership_error *leadership_new(const leadership_client *client,
                                 const uint8_t *key,
                                 size_t key_len,
                                 const leadership_options *options,
                                 leadership_handle **handle);

// Renews the term's lease in the background until a reset, a loss or the client's end. Idempotent, never blocks.
//
// Errors: NOT_LEADER without a valid term, CLOSED.
leadership_error *leadership_keep(const leadership_handle *handle);

// True only between a proven win and the deadline. A local read of tens of nanoseconds: no lock, no I/O. False for
// NULL.
bool leadership_check(const leadership_handle *handle);

// The current term, or the last one when it has ended.
//
// term: NULL before the first; else a view, to be freed with leadership_term_free.
leadership_error *leadership_get_term(const leadership_handle *handle, leadership_term **term);

// Not leader at once, whatever this returns; also ends a campaign or a watch under way. Then deletes the key, in a way
// that lets the successor lead without its takeover delay, and revokes the lease. The handle may campaign again.
//
// Errors: TIMEOUT, UNAVAILABLE, CANCELLED when etcd's answer was not waited for to the end: it goes on in the
// background, and calling this again waits for it again. CLOSED.
leadership_error *leadership_reset(const leadership_handle *handle,
                                   uint64_t timeout_ms,
                                   const leadership_cancel *cancel);

// leadership_reset without waiting: not leader when this returns success, and `done` is called once, when the key is
// gone or that was not confirmed in time. A cancel ends the wait, not the release.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_reset_start(const leadership_handle *handle,
                                         const leadership_cancel *cancel,
                                         leadership_done done,
                                         void *user_data,
                                         leadership_drop drop);

// As leadership_term_proclaim, for the handle's current term.
leadership_error *leadership_proclaim(const leadership_handle *handle,
                                      const uint8_t *value,
                                      size_t value_len,
                                      uint64_t timeout_ms,
                                      const leadership_cancel *cancel);

// leadership_proclaim without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_proclaim_start(const leadership_handle *handle,
                                            const uint8_t *value,
                                            size_t value_len,
                                            const leadership_cancel *cancel,
                                            leadership_done done,
                                            void *user_data,
                                            leadership_drop drop);

// Deletes the leader key of the own term, which ends with it. As leadership_reset, but the lease of
// leadership_set_lease stays. A key that is gone already is success.
//
// Errors: NOT_LEADER if there never was a term, or the key is another's by now; else as leadership_reset.
leadership_error *leadership_delete_leader_key(const leadership_handle *handle,
                                               uint64_t timeout_ms,
                                               const leadership_cancel *cancel);

// leadership_delete_leader_key without waiting: not leader when this returns success, and `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_delete_leader_key_start(const leadership_handle *handle,
                                                     const leadership_cancel *cancel,
                                                     leadership_done done,
                                                     void *user_data,
                                                     leadership_drop drop);

// Deletes the leader key, whoever holds it, if nobody has written it since `revision` (its mod revision). Absent is
// success.
//
// Errors: NOT_ELECTED if the key was written since, INVALID_ARGUMENT (revision not above 0), OUTCOME_UNKNOWN,
// UNAVAILABLE, TIMEOUT and CANCELLED (it may be applied all the same), PERMISSION_DENIED, CLOSED.
leadership_error *leadership_delete_leader_key_at(const leadership_handle *handle,
                                                  int64_t revision,
                                                  uint64_t timeout_ms,
                                                  const leadership_cancel *cancel);

// leadership_delete_leader_key_at without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_delete_leader_key_at_start(const leadership_handle *handle,
                                                        int64_t revision,
                                                        const leadership_cancel *cancel,
                                                        leadership_done done,
                                                        void *user_data,
                                                        leadership_drop drop);

// Campaigns with this lease from now on; NULL grants a fresh one each time again. One lease may carry many elections.
// The handle keeps a hold of it, and never revokes it while the caller has one too.
//
// Errors: INVALID_ARGUMENT (lease) if it belongs to another client.
leadership_error *leadership_set_lease(const leadership_handle *handle,
                                       const leadership_lease *lease);

// The lease of the current term, or the one that was set.
//
// lease: NULL for none; else to be freed with leadership_lease_free.
leadership_error *leadership_get_lease(const leadership_handle *handle, leadership_lease **lease);

// A further handle of the client that this one was made with. client: to be freed with leadership_client_free.
leadership_error *leadership_get_client(const leadership_handle *handle,
                                        leadership_client **client);

// The key, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
const uint8_t *leadership_key(const leadership_handle *handle, size_t *len);

// The value of the last campaign. bytes: to be freed with leadership_bytes_free.
leadership_error *leadership_value(const leadership_handle *handle, leadership_bytes **bytes);

// What it is for; borrowed. NULL for NULL.
const char *leadership_purpose(const leadership_handle *handle);

// Counts a campaign. The caller says when: nothing is counted by itself.
leadership_error *leadership_add_campaign_times(const leadership_handle *handle);

// How many campaigns were counted within the window (default 5 min).
leadership_error *leadership_get_campaign_times_num(const leadership_handle *handle, uint64_t *times);

// Forgets the campaigns counted.
leadership_error *leadership_reset_campaign_times(const leadership_handle *handle);

// A primary watch also ends on an overwrite. Watches under way follow.
leadership_error *leadership_set_primary_watch(const leadership_handle *handle, bool primary);

// See leadership_set_primary_watch. False for NULL.
bool leadership_is_primary(const leadership_handle *handle);

// Frees the handle: its term ends at once (LEADERSHIP_REASON_RESIGNED), what it holds is released in the background,
// a campaign or watch begun by a _start form ends. Callbacks of leadership_on_event may still tell of the loss. Never
// blocks.
void leadership_free(leadership_handle *handle);

// The leader's value, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
const uint8_t *leadership_leader_value(const leadership_leader *leader, size_t *len);

// The revision at which the key was created. 0 for NULL.
int64_t leadership_leader_create_revision(const leadership_leader *leader);

// The revision at which the key was last written: what leadership_watch and leadership_delete_leader_key_at take.
// 0 for NULL.
int64_t leadership_leader_mod_revision(const leadership_leader *leader);

// The lease the key hangs on; 0 for none, and for NULL.
int64_t leadership_leader_lease_id(const leadership_leader *leader);

// The term's fencing token, the one that the holder itself uses; 0 if it cannot be known, and for NULL.
int64_t leadership_leader_token(const leadership_leader *leader);

// Frees a leader.
void leadership_leader_free(leadership_leader *leader);

// Grants a lease. It is not renewed until leadership_lease_keep_alive. If the call fails, no lease is left behind.
//
// ttl_ms: rounded up to whole seconds; etcd may raise it. purpose: what it is for, in logs and errors.
// lease: to be freed with leadership_lease_free.
// Errors: INVALID_ARGUMENT (ttl), UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
leadership_error *leadership_lease_grant(const leadership_client *client,
                                         uint64_t ttl_ms,
                                         const char *purpose,
                                         uint64_t timeout_ms,
                                         const leadership_cancel *cancel,
                                         leadership_lease **lease);

// leadership_lease_grant without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_lease_grant_start(const leadership_client *client,
                                               uint64_t ttl_ms,
                                               const char *purpose,
                                               const leadership_cancel *cancel,
                                               leadership_lease_done done,
                                               void *user_data,
                                               leadership_drop drop);

// Renews the lease in the background until it is closed or expires. Idempotent, never blocks.
//
// Errors: NOT_LEADER if it has ended (it is never revived), CLOSED.
leadership_error *leadership_lease_keep_alive(const leadership_lease *lease);

// Revokes the lease: it is expired at once, whatever this returns, and every key on it goes. Idempotent; success if it
// is gone already.
//
// Errors: UNAVAILABLE, TIMEOUT, CANCELLED when etcd's answer was not waited for to the end: the revoke is repeated in
// the background.
leadership_error *leadership_lease_close(const leadership_lease *lease,
                                         uint64_t timeout_ms,
                                         const leadership_cancel *cancel);

// leadership_lease_close without waiting: expired when this returns success, and `done` is called once, when the lease
// is gone or that was not confirmed in time. A cancel ends the wait, not the revoke.
//
// Errors: INVALID_ARGUMENT (NULL); all others go to `done`.
leadership_error *leadership_lease_close_start(const leadership_lease *lease,
                                               const leadership_cancel *cancel,
                                               leadership_done done,
                                               void *user_data,
                                               leadership_drop drop);

// True when the lease has ended, or may have; never false again. A local read of tens of nanoseconds. True for NULL.
bool leadership_lease_is_expired(const leadership_lease *lease);

// The lease's id in etcd: another one when its keys have moved to a fresh lease, after an etcd leader change. 0 for NULL.
int64_t leadership_lease_id(const leadership_lease *lease);

// The TTL that etcd granted, which may be longer than what was asked for. 0 for NULL.
uint64_t leadership_lease_ttl_ms(const leadership_lease *lease);

// How long it surely lives without a further renewal, in nanoseconds; 0 once ended, and for NULL.
uint64_t leadership_lease_remaining_ns(const leadership_lease *lease);

// What it is for; borrowed. NULL for NULL.
const char *leadership_lease_purpose(const leadership_lease *lease);

// Frees the handle. If it was the last one of a lease that was not closed, the revoke is queued. Never blocks.
void leadership_lease_free(leadership_lease *lease);

// From now on `callback` is told what the library logs, for the whole process, on a thread of its own; NULL, or level
// LEADERSHIP_LOG_OFF, for nothing. It replaces the one before, whose drop is called on its thread after its last call.
// Records are dropped rather than waited for when it is slow.
//
// level: the least important to be told, LEADERSHIP_LOG_*.
// Errors: INVALID_ARGUMENT (level; or another logger of this process serves the library already).
leadership_error *leadership_set_log_callback(leadership_log_callback callback,
                                              uint32_t level,
                                              void *user_data,
                                              leadership_drop drop);

// Observes the single-key election of a key from now on. Never blocks.
//
// key: text. observer: to be freed with leadership_observer_free. Errors: INVALID_ARGUMENT (key: empty or reserved), CLOSED.
leadership_error *leadership_observer_new(const leadership_client *client,
                                          const char *key,
                                          leadership_observer **observer);

// Waits for the next news that no call of this has given yet: LEADERSHIP_EVENT_LEADER (another leader, or the leader's new
// value), LEADERSHIP_EVENT_VACANT, and last, once, LEADERSHIP_EVENT_STOPPED. What came and went meanwhile is skipped:
// nothing is queued. Each goes to one caller.
//
// event: NULL after LEADERSHIP_EVENT_STOPPED; else to be freed with leadership_event_free. Errors: TIMEOUT, CANCELLED.
leadership_error *leadership_observer_next(const leadership_observer *observer,
                                           uint64_t timeout_ms,
                                           const leadership_cancel *cancel,
                                           leadership_event **event);

// A file descriptor that is readable while leadership_observer_next has something to give: as leadership_elector_fd.
leadership_error *leadership_observer_fd(const leadership_observer *observer,
                                         int *fd);

// Frees the observer and ends its part in the watch stream.
void leadership_observer_free(leadership_observer *observer);

// For the single-key election of a key. Nothing is sent.
//
// key: text. operator_: to be freed with leadership_operator_free. Errors: INVALID_ARGUMENT (key: empty or reserved), CLOSED.
leadership_error *leadership_operator_new(const leadership_client *client,
                                          const char *key,
                                          leadership_operator **operator_);

// The key of the election, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
const uint8_t *leadership_operator_key(const leadership_operator *operator_, size_t *len);

// Who leads, with its token, read linearizably.
//
// leader: NULL if nobody; else to be freed with leadership_leader_free.
// Errors: UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
leadership_error *leadership_operator_leader(const leadership_operator *operator_,
                                             uint64_t timeout_ms,
                                             const leadership_cancel *cancel,
                                             leadership_leader **leader);

// leadership_operator_leader without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_operator_leader_start(const leadership_operator *operator_,
                                                   const leadership_cancel *cancel,
                                                   leadership_leader_done done,
                                                   void *user_data,
                                                   leadership_drop drop);

// Everybody who takes part: as leadership_elector_participants.
leadership_error *leadership_operator_participants(const leadership_operator *operator_,
                                                   uint64_t timeout_ms,
                                                   const leadership_cancel *cancel,
                                                   leadership_participants **participants);

// leadership_operator_participants without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_operator_participants_start(const leadership_operator *operator_,
                                                         const leadership_cancel *cancel,
                                                         leadership_participants_done done,
                                                         void *user_data,
                                                         leadership_drop drop);

// Gives the key to a candidate, in one transaction: nobody else can come between.
//
// to, value: as in leadership_elector_transfer. participant: who holds the key now, to be freed with
// leadership_participant_free; if that is who held it before (it was named itself, or nobody else stands), nothing was done.
// Errors: INVALID_ARGUMENT (to: no such candidate; says who there is), NOT_ELECTED (another leads than was seen: who),
// UNAVAILABLE (nobody leads; or not applied), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED (with wait the key is let go of, and any
// candidate may take it), PERMISSION_DENIED, CLOSED.
leadership_error *leadership_operator_transfer(const leadership_operator *operator_,
                                               uint32_t to,
                                               const uint8_t *value,
                                               size_t value_len,
                                               bool wait,
                                               uint64_t timeout_ms,
                                               const leadership_cancel *cancel,
                                               leadership_participant **participant);

// leadership_operator_transfer without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL, numbers), CLOSED; all others go to `done`.
leadership_error *leadership_operator_transfer_start(const leadership_operator *operator_,
                                                     uint32_t to,
                                                     const uint8_t *value,
                                                     size_t value_len,
                                                     bool wait,
                                                     const leadership_cancel *cancel,
                                                     leadership_transfer_done done,
                                                     void *user_data,
                                                     leadership_drop drop);

// Takes the key from whoever holds it. A key that hangs on no lease (somebody put it there by hand) goes, too.
//
// leader: who held it; NULL if nobody did; else to be freed with leadership_leader_free.
// Errors: NOT_ELECTED (another leads than was seen: who), UNAVAILABLE (not applied), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED
// (it may have been done all the same), PERMISSION_DENIED, CLOSED.
leadership_error *leadership_operator_depose(const leadership_operator *operator_,
                                             bool wait,
                                             uint64_t timeout_ms,
                                             const leadership_cancel *cancel,
                                             leadership_leader **leader);

// leadership_operator_depose without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_operator_depose_start(const leadership_operator *operator_,
                                                   bool wait,
                                                   const leadership_cancel *cancel,
                                                   leadership_leader_done done,
                                                   void *user_data,
                                                   leadership_drop drop);

// Pauses the election until leadership_operator_unpause: an elector that leads drains and resigns, nobody campaigns.
// Idempotent.
//
// Errors: UNAVAILABLE, TIMEOUT and CANCELLED (it may have been paused all the same), PERMISSION_DENIED, CLOSED.
leadership_error *leadership_operator_pause(const leadership_operator *operator_,
                                            uint64_t timeout_ms,
                                            const leadership_cancel *cancel);

// leadership_operator_pause without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_operator_pause_start(const leadership_operator *operator_,
                                                  const leadership_cancel *cancel,
                                                  leadership_done done,
                                                  void *user_data,
                                                  leadership_drop drop);

// Lets a paused election go on. Idempotent.
//
// Errors: as leadership_operator_pause.
leadership_error *leadership_operator_unpause(const leadership_operator *operator_,
                                              uint64_t timeout_ms,
                                              const leadership_cancel *cancel);

// leadership_operator_unpause without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_operator_unpause_start(const leadership_operator *operator_,
                                                    const leadership_cancel *cancel,
                                                    leadership_done done,
                                                    void *user_data,
                                                    leadership_drop drop);

// Is the election paused?
//
// Errors: as leadership_operator_leader.
leadership_error *leadership_operator_is_paused(const leadership_operator *operator_,
                                                uint64_t timeout_ms,
                                                const leadership_cancel *cancel,
                                                bool *paused);

// leadership_operator_is_paused without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_operator_is_paused_start(const leadership_operator *operator_,
                                                      const leadership_cancel *cancel,
                                                      leadership_bool_done done,
                                                      void *user_data,
                                                      leadership_drop drop);

// Frees the operator; what it has begun goes on.
void leadership_operator_free(leadership_operator *operator_);

// How many there are. 0 for NULL.
size_t leadership_participants_len(const leadership_participants *participants);

// Number `index`, from 0; borrowed. NULL if there is none.
const leadership_participant *leadership_participants_at(const leadership_participants *participants,
                                                         size_t index);

// What it campaigns with, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
const uint8_t *leadership_participant_value(const leadership_participant *participant, size_t *len);

// Higher is preferred; 0 unless it chose another, always in a queue, and for NULL.
int64_t leadership_participant_priority(const leadership_participant *participant);

// The lease that its registration, or its key, hangs on; 0 for a key without one, and for NULL.
int64_t leadership_participant_lease_id(const leadership_participant *participant);

// The revision at which it registered, or at which its key was created. 0 for NULL.
int64_t leadership_participant_revision(const leadership_participant *participant);

// True for the one that held the election. False for NULL.
bool leadership_participant_leads(const leadership_participant *participant);

// Frees the one that a transfer gave; one of leadership_participants_at goes with those.
void leadership_participant_free(leadership_participant *participant);

// Frees them, and all that was borrowed.
void leadership_participants_free(leadership_participants *participants);

// True if all conditions held and the `then` branch was applied; false for `else`, and for NULL.
bool leadership_txn_reply_succeeded(const leadership_txn_reply *reply);

// The store's revision after the transaction (its own, if it wrote). 0 for NULL.
int64_t leadership_txn_reply_revision(const leadership_txn_reply *reply);

// How many operations the branch had that was applied. 0 for NULL.
size_t leadership_txn_reply_len(const leadership_txn_reply *reply);

// What operation `index` was, LEADERSHIP_REPLY_*; 0 if there is none.
uint32_t leadership_txn_reply_kind(const leadership_txn_reply *reply, size_t index);

// How many keys operation `index` deleted; for a get, how many there are in the range, read or not. 0 for anything
// else.
int64_t leadership_txn_reply_count(const leadership_txn_reply *reply,
                                   size_t index);

// How many keys operation `index` read. 0 for anything else.
size_t leadership_txn_reply_kv_len(const leadership_txn_reply *reply, size_t index);

// Key number `kv_index` that operation `index` read, in order; borrowed. NULL if there is none.
const leadership_key_value *leadership_txn_reply_kv(const leadership_txn_reply *reply,
                                                    size_t index,
                                                    size_t kv_index);

// The key, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
const uint8_t *leadership_key_value_key(const leadership_key_value *kv, size_t *len);

// The value, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
const uint8_t *leadership_key_value_value(const leadership_key_value *kv, size_t *len);

// The revision at which the key was created (again). 0 for NULL.
int64_t leadership_key_value_create_revision(const leadership_key_value *kv);

// The revision at which the key was last written. 0 for NULL.
int64_t leadership_key_value_mod_revision(const leadership_key_value *kv);

// How often the key was written since it was created. 0 for NULL.
int64_t leadership_key_value_version(const leadership_key_value *kv);

// The lease the key hangs on; 0 for none, and for NULL.
int64_t leadership_key_value_lease_id(const leadership_key_value *kv);

// Frees a reply and all that was borrowed from it.
void leadership_txn_reply_free(leadership_txn_reply *reply);

// A lease to be shared, granted when it is first needed. Nothing is sent.
//
// ttl_ms: rounded up to whole seconds; etcd may raise it. lease: to be freed with leadership_shared_lease_free.
// Errors: INVALID_ARGUMENT (ttl), CLOSED.
leadership_error *leadership_client_shared_lease(const leadership_client *client,
                                                 uint64_t ttl_ms,
                                                 leadership_shared_lease **lease);

// The id of the lease of now; 0 before the first campaign, once it is of no more use, in a forked child, and for NULL.
int64_t leadership_shared_lease_id(const leadership_shared_lease *lease);

// The TTL that is asked for. 0 for NULL.
uint64_t leadership_shared_lease_ttl_ms(const leadership_shared_lease *lease);

// Frees the handle. The lease is revoked, in the background, once no elector and no options have it any more.
void leadership_shared_lease_free(leadership_shared_lease *lease);

// Authority, until the deadline: ask it before an act. A local read of tens of nanoseconds, without lock, allocation
// or I/O. What it cannot promise: that it still holds when a packet sent now arrives elsewhere; that is what the token
// and the guarded transaction are for. False for NULL.
bool leadership_term_valid(const leadership_term *term);

// Must the work stop? True from the step-down margin before the deadline on, and at once on anything voluntary or a
// lost key; never false again. Loops read this. As cheap as leadership_term_valid. True for NULL.
bool leadership_term_lost(const leadership_term *term);

// Why the term was lost, LEADERSHIP_REASON_*; LEADERSHIP_REASON_NONE while the work may go on, and for NULL.
uint32_t leadership_term_lost_reason(const leadership_term *term);

// The fencing token: strictly larger in every later term of the election. 0 for NULL.
int64_t leadership_term_token(const leadership_term *term);

// How long the term is valid without a further renewal, in nanoseconds; 0 once ended, and for NULL.
uint64_t leadership_term_remaining_ns(const leadership_term *term);

// The lease the key hangs on: another one after an etcd leader change, in the same term. 0 for NULL.
int64_t leadership_term_lease_id(const leadership_term *term);

// The TTL that etcd granted. 0 for NULL.
uint64_t leadership_term_ttl_ms(const leadership_term *term);

// The key of the election, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
const uint8_t *leadership_term_key(const leadership_term *term, size_t *len);

// The value the term was won with, borrowed; its length goes to *len (may be NULL). NULL and 0 for NULL.
const uint8_t *leadership_term_value(const leadership_term *term, size_t *len);

// Waits until the term is lost.
//
// reason: why, LEADERSHIP_REASON_*. Errors: TIMEOUT, CANCELLED.
leadership_error *leadership_term_wait_lost(const leadership_term *term,
                                            uint64_t timeout_ms,
                                            const leadership_cancel *cancel,
                                            uint32_t *reason);

// leadership_term_wait_lost without waiting: `done` is called once. The term may be freed meanwhile.
leadership_error *leadership_term_wait_lost_start(const leadership_term *term,
                                                  const leadership_cancel *cancel,
                                                  leadership_lost_done done,
                                                  void *user_data,
                                                  leadership_drop drop);

// Another view of the same term, e.g. of the one that an event lends. Free it with leadership_term_free.
leadership_error *leadership_term_clone(const leadership_term *term, leadership_term **view);

// Gives up a term of the caller's own, which stays to be freed: lost and not valid at once, whatever this returns; then
// the key is deleted, in a way that lets the successor lead without its takeover delay. Freeing it does the same without
// saying how it went.
//
// Errors: INVALID_ARGUMENT (a view; nothing is given up), TIMEOUT, UNAVAILABLE, CANCELLED when etcd's answer was not waited
// for to the end: it goes on in the background, and calling this again waits again. CLOSED.
leadership_error *leadership_term_resign(const leadership_term *term,
                                         uint64_t timeout_ms,
                                         const leadership_cancel *cancel);

// leadership_term_resign without waiting: not leader when this returns success, and `done` is called once, when the key is
// gone or that was not confirmed in time. A cancel ends the wait, not the release. The term may be freed meanwhile.
//
// Errors: INVALID_ARGUMENT (NULL, or a view); all others go to `done`.
leadership_error *leadership_term_resign_start(const leadership_term *term,
                                               const leadership_cancel *cancel,
                                               leadership_done done,
                                               void *user_data,
                                               leadership_drop drop);

// Frees a term. One of the caller's own is resigned with it, in the background, if it is still held; a view resigns
// nothing. Never blocks.
void leadership_term_free(leadership_term *term);

// Writes a key, other than the election's own, while this very term still holds that one: a leadership_txn in one call.
//
// Errors: NOT_LEADER (nothing was written), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED (it may be written all the same),
// INVALID_ARGUMENT (key, value), UNAVAILABLE, PERMISSION_DENIED, CLOSED.
leadership_error *leadership_term_put(const leadership_term *term,
                                      const uint8_t *key,
                                      size_t key_len,
                                      const uint8_t *value,
                                      size_t value_len,
                                      uint64_t timeout_ms,
                                      const leadership_cancel *cancel);

// leadership_term_put without waiting: `done` is called once. The term may be freed meanwhile.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_term_put_start(const leadership_term *term,
                                            const uint8_t *key,
                                            size_t key_len,
                                            const uint8_t *value,
                                            size_t value_len,
                                            const leadership_cancel *cancel,
                                            leadership_done done,
                                            void *user_data,
                                            leadership_drop drop);

// Deletes a key, other than the election's own, while this very term still holds that one.
//
// deleted: false if it was not there. Errors: as leadership_term_put.
leadership_error *leadership_term_delete(const leadership_term *term,
                                         const uint8_t *key,
                                         size_t key_len,
                                         uint64_t timeout_ms,
                                         const leadership_cancel *cancel,
                                         bool *deleted);

// leadership_term_delete without waiting: `done` is called once, with whether it was there. The term may be freed
// meanwhile.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_term_delete_start(const leadership_term *term,
                                               const uint8_t *key,
                                               size_t key_len,
                                               const leadership_cancel *cancel,
                                               leadership_bool_done done,
                                               void *user_data,
                                               leadership_drop drop);

// Changes the value of the leader key in place: the same term, with the same token. Later terms have the elector's value, or
// the campaign's.
//
// Errors: NOT_LEADER (nothing was written), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED (it may be written all the same),
// INVALID_ARGUMENT (value: above etcd's limit), UNAVAILABLE, PERMISSION_DENIED, CLOSED.
leadership_error *leadership_term_proclaim(const leadership_term *term,
                                           const uint8_t *value,
                                           size_t value_len,
                                           uint64_t timeout_ms,
                                           const leadership_cancel *cancel);

// leadership_term_proclaim without waiting: `done` is called once. The term may be freed meanwhile.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_term_proclaim_start(const leadership_term *term,
                                                 const uint8_t *value,
                                                 size_t value_len,
                                                 const leadership_cancel *cancel,
                                                 leadership_done done,
                                                 void *user_data,
                                                 leadership_drop drop);

// The value that was proclaimed last in this term, or the one it was won with, which leadership_term_value lends.
//
// value: to be freed with leadership_bytes_free.
leadership_error *leadership_term_latest_value(const leadership_term *term,
                                               leadership_bytes **value);

// Hands the term over: it is lost at once (LEADERSHIP_REASON_HANDED_OVER), drained, and then the candidate gets the key in
// the transaction that takes it from this process: there is no instant without a leader. In a queue the next in line
// follows. From a callback: leadership_elector_transfer_start.
//
// to: LEADERSHIP_SUCCESSOR_*. value: of LEADERSHIP_SUCCESSOR_NAMED; ignored for the others.
// participant: who holds the key now, to be freed with leadership_participant_free. If that is this process (it was named
// itself, or nobody else stands), nothing was done and the term goes on.
// Errors: NOT_LEADER without a term; INVALID_ARGUMENT (to: no such candidate, says who there is; the term goes on; also from
// a callback, which may be what the drain waits for); UNAVAILABLE (the candidate went away, etcd is away; says what became
// of the key); TIMEOUT, CANCELLED (it goes on in the background); PERMISSION_DENIED, CLOSED.
leadership_error *leadership_elector_transfer(const leadership_elector *elector,
                                              uint32_t to,
                                              const uint8_t *value,
                                              size_t value_len,
                                              uint64_t timeout_ms,
                                              const leadership_cancel *cancel,
                                              leadership_participant **participant);

// leadership_elector_transfer without waiting: `done` is called once. A cancel ends the wait, not the transfer.
//
// Errors: INVALID_ARGUMENT (NULL, numbers), CLOSED; all others go to `done`.
leadership_error *leadership_elector_transfer_start(const leadership_elector *elector,
                                                    uint32_t to,
                                                    const uint8_t *value,
                                                    size_t value_len,
                                                    const leadership_cancel *cancel,
                                                    leadership_transfer_done done,
                                                    void *user_data,
                                                    leadership_drop drop);

// Everybody who takes part, read linearizably: the leader first (its priority reads 0), then who is registered.
//
// participants: to be freed with leadership_participants_free.
// Errors: UNAVAILABLE, TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED.
leadership_error *leadership_elector_participants(const leadership_elector *elector,
                                                  uint64_t timeout_ms,
                                                  const leadership_cancel *cancel,
                                                  leadership_participants **participants);

// leadership_elector_participants without waiting: `done` is called once.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_elector_participants_start(const leadership_elector *elector,
                                                        const leadership_cancel *cancel,
                                                        leadership_participants_done done,
                                                        void *user_data,
                                                        leadership_drop drop);

// An empty transaction, guarded by this term. txn: to be freed with leadership_txn_free.
leadership_error *leadership_txn_new(const leadership_term *term, leadership_txn **txn);

// An empty transaction, guarded by the handle's current term. txn: to be freed with leadership_txn_free.
//
// Errors: NOT_LEADER without a valid term, CLOSED.
leadership_error *leadership_leader_txn(const leadership_handle *handle, leadership_txn **txn);

// Adds a condition. Copied.
leadership_error *leadership_txn_when(leadership_txn *txn, const leadership_compare *compare);

// If the conditions hold: writes a key, which lives as long as the lease (0 = for good).
leadership_error *leadership_txn_then_put(leadership_txn *txn,
                                          const uint8_t *key,
                                          size_t key_len,
                                          const uint8_t *value,
                                          size_t value_len,
                                          int64_t lease_id);

// If the conditions hold: deletes a key; deleting an absent one is no error.
leadership_error *leadership_txn_then_delete(leadership_txn *txn, const uint8_t *key, size_t key_len);

// If the conditions hold: deletes every key that starts with the prefix.
leadership_error *leadership_txn_then_delete_prefix(leadership_txn *txn,
                                                    const uint8_t *prefix,
                                                    size_t prefix_len);

// If the conditions hold: reads a key.
leadership_error *leadership_txn_then_get(leadership_txn *txn, const uint8_t *key, size_t key_len);

// If the conditions hold: reads every key that starts with the prefix, at most `limit` of them (0 = all).
leadership_error *leadership_txn_then_get_prefix(leadership_txn *txn,
                                                 const uint8_t *prefix,
                                                 size_t prefix_len,
                                                 int64_t limit);

// If a condition does not hold: as leadership_txn_then_put.
leadership_error *leadership_txn_else_put(leadership_txn *txn,
                                          const uint8_t *key,
                                          size_t key_len,
                                          const uint8_t *value,
                                          size_t value_len,
                                          int64_t lease_id);

// If a condition does not hold: as leadership_txn_then_delete.
leadership_error *leadership_txn_else_delete(leadership_txn *txn, const uint8_t *key, size_t key_len);

// If a condition does not hold: as leadership_txn_then_delete_prefix.
leadership_error *leadership_txn_else_delete_prefix(leadership_txn *txn,
                                                    const uint8_t *prefix,
                                                    size_t prefix_len);

// If a condition does not hold: as leadership_txn_then_get.
leadership_error *leadership_txn_else_get(leadership_txn *txn, const uint8_t *key, size_t key_len);

// If a condition does not hold: as leadership_txn_then_get_prefix.
leadership_error *leadership_txn_else_get_prefix(leadership_txn *txn,
                                                 const uint8_t *prefix,
                                                 size_t prefix_len,
                                                 int64_t limit);

// Sends it; sending it again is another transaction. A condition that does not hold is success, with
// leadership_txn_reply_succeeded false.
//
// reply: to be freed with leadership_txn_reply_free.
// Errors: NOT_LEADER (nothing was applied; if etcd said so, the term has ended), OUTCOME_UNKNOWN, TIMEOUT and CANCELLED
// (it may be applied all the same), INVALID_ARGUMENT (when, then, or_else), UNAVAILABLE, PERMISSION_DENIED, CLOSED.
leadership_error *leadership_txn_commit(const leadership_txn *txn,
                                        uint64_t timeout_ms,
                                        const leadership_cancel *cancel,
                                        leadership_txn_reply **reply);

// leadership_txn_commit without waiting: `done` is called once. The transaction may be freed meanwhile.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_txn_commit_start(const leadership_txn *txn,
                                              const leadership_cancel *cancel,
                                              leadership_txn_done done,
                                              void *user_data,
                                              leadership_drop drop);

// Frees a transaction; one under way goes on.
void leadership_txn_free(leadership_txn *txn);

// Waits until the leader that was seen at `revision` no longer holds the key. A delete that was missed or compacted
// away is found by reading.
//
// revision: the leader's mod revision, or 0 for whoever holds the key now. kind: why it ended, LEADERSHIP_WATCH_*.
// end_revision: a revision at which that was so; 0 for LEADERSHIP_WATCH_CANCELLED and _CLOSED.
// Errors: INVALID_ARGUMENT (revision below 0), TIMEOUT, CANCELLED, PERMISSION_DENIED, CLOSED if closed before.
leadership_error *leadership_watch(const leadership_handle *handle,
                                   int64_t revision,
                                   uint64_t timeout_ms,
                                   const leadership_cancel *cancel,
                                   uint32_t *kind,
                                   int64_t *end_revision);

// leadership_watch without waiting: `done` is called once. leadership_free and leadership_client_close end it early.
//
// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
leadership_error *leadership_watch_start(const leadership_handle *handle,
                                         int64_t revision,
                                         const leadership_cancel *cancel,
                                         leadership_watch_done done,
                                         void *user_data,
                                         leadership_drop drop);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LEADERSHIP_H */
