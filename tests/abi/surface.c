/* The C runner of tests/surface/surface.txt: the reference surface, step by step, on test servers of its own.
 * Owns how a line is played through the C ABI; the lines and their meaning are tests/surface/README.md's.
 *
 * usage: surface [TABLE]   Default: tests/surface/surface.txt. */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>

#include "tap.h"

#define MOST_WORDS 16
#define MOST_CONTENDERS 4
#define WAIT_MS 5000u /* the table's "at most 5 s"; a TTL's worth */

/* A contender: a client of its own, and a leadership of the key k. */
struct contender {
    char name[16];
    leadership_client *client;
    leadership_handle *handle;
    leadership_lease *lease;
};

static leadership_testkit_server *server;
static struct contender contenders[MOST_CONTENDERS];

/* A line: who, what, the arguments; then what came of it. */
struct step {
    int number;
    char *words[MOST_WORDS];
    int count;
    char *expected;
    char got[512];
};

/* A value of the table: bytes, with %XX for some. */
struct bytes {
    uint8_t data[256];
    size_t len;
};

static struct bytes decode(const char *text) {
    struct bytes bytes = {.len = 0};
    for (; *text && bytes.len < sizeof bytes.data; text++) {
        unsigned byte = (unsigned char)*text;
        if (*text == '%' && sscanf(text + 1, "%2x", &byte) == 1) text += 2;
        bytes.data[bytes.len++] = (uint8_t)byte;
    }
    return bytes;
}

static void answer(struct step *step, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(step->got, sizeof step->got, format, arguments);
    va_end(arguments);
}

static void answer_bytes(struct step *step, const uint8_t *data, size_t len) {
    size_t at = 0;
    step->got[0] = '\0';
    for (size_t i = 0; i < len && at + 4 < sizeof step->got; i++) {
        int plain = isgraph(data[i]) && data[i] != '=' && data[i] != '%';
        at += (size_t)snprintf(step->got + at, sizeof step->got - at, plain ? "%c" : "%%%02X", data[i]);
    }
}

static void answer_bool(struct step *step, bool yes) { answer(step, "%s", yes ? "true" : "false"); }

/* Argument number `nth` (from 0) of this name, or NULL. */
static const char *argument(const struct step *step, const char *name, int nth) {
    size_t len = strlen(name);
    for (int i = 2; i < step->count; i++) {
        if (strncmp(step->words[i], name, len) == 0 && step->words[i][len] == '=' && nth-- == 0) {
            return step->words[i] + len + 1;
        }
    }
    return NULL;
}

static const char *needed(const struct step *step, const char *name) {
    const char *value = argument(step, name, 0);
    if (!value) {
        printf("Bail out! line %d: %s needs %s=\n", step->number, step->words[1], name);
        exit(1);
    }
    return value;
}

/* Where the details of an error are in its message: the table names them, C says them in words. */
static void answer_error(struct step *step, leadership_error *error) {
    const char *message = leadership_error_message(error), *name = leadership_error_name(error);
    uint32_t code = leadership_error_code(error);
    if (code == LEADERSHIP_ERROR_INVALID_ARGUMENT) {
        answer(step, "error %s %.*s", name, (int)strcspn(message, ":"), message);
    } else if (code == LEADERSHIP_ERROR_NOT_LEADER && leadership_error_reason(error) != LEADERSHIP_REASON_NONE) {
        answer(step, "error %s %s", name, leadership_reason_name(leadership_error_reason(error)));
    } else if (code == LEADERSHIP_ERROR_NOT_ELECTED && strstr(message, "is held by \"")) {
        const char *holder = strstr(message, "is held by \"") + strlen("is held by \"");
        answer(step, "error %s %.*s", name, (int)strcspn(holder, "\""), holder);
    } else {
        answer(step, "error %s", name);
    }
    leadership_error_free(error);
}

static void answer_done(struct step *step, leadership_error *error) {
    if (error) answer_error(step, error);
    else answer(step, "ok");
}

/* TARGET:KEY:OP:OPERAND; to be freed. */
static leadership_compare *compare_of(const char *text) {
    char target[16], key[64], op[4], operand[64];
    leadership_compare *compare = NULL;
    if (sscanf(text, "%15[^:]:%63[^:]:%3[^:]:%63s", target, key, op, operand) != 4) exit(1);
    uint32_t sign = strcmp(op, "==") == 0   ? LEADERSHIP_COMPARE_EQUAL
                    : strcmp(op, "!=") == 0 ? LEADERSHIP_COMPARE_NOT_EQUAL
                    : strcmp(op, ">") == 0  ? LEADERSHIP_COMPARE_GREATER
                                            : LEADERSHIP_COMPARE_LESS;
    const uint8_t *name = bytes_of(key);
    size_t len = strlen(key);
    int64_t number = strtoll(operand, NULL, 10);
    struct bytes value = decode(operand);
    if (strcmp(target, "create") == 0) must(leadership_compare_create_revision(name, len, sign, number, &compare));
    else if (strcmp(target, "mod") == 0) must(leadership_compare_mod_revision(name, len, sign, number, &compare));
    else if (strcmp(target, "version") == 0) must(leadership_compare_version(name, len, sign, number, &compare));
    else if (strcmp(target, "lease") == 0) must(leadership_compare_lease(name, len, sign, number, &compare));
    else must(leadership_compare_value(name, len, sign, value.data, value.len, &compare));
    return compare;
}

static leadership_error *play_campaign(struct contender *who, struct step *step) {
    leadership_campaign_options *options = NULL;
    leadership_term *term = NULL;
    struct bytes value = decode(needed(step, "value"));
    must(leadership_campaign_options_new(&options));
    must(leadership_campaign_options_set_value(options, value.data, value.len));
    leadership_error *error = leadership_campaign_options_set_ttl(options, strtoull(needed(step, "ttl"), NULL, 10) * 1000u);
    const char *text;
    for (int i = 0; (text = argument(step, "compare", i)); i++) {
        leadership_compare *compare = compare_of(text);
        must(leadership_campaign_options_add_compare(options, compare));
        leadership_compare_free(compare);
    }
    if (!error) error = leadership_campaign(who->handle, options, PATIENCE_MS, NULL, &term);
    leadership_campaign_options_free(options);
    leadership_term_free(term);
    return error;
}

static void play_put(struct contender *who, struct step *step) {
    leadership_term *term = NULL;
    leadership_txn *txn = NULL;
    leadership_txn_reply *reply = NULL;
    must(leadership_get_term(who->handle, &term));
    if (!term) {
        /* C has no transaction without a term: what Rust says of one is what keeping without a term says. */
        answer_done(step, leadership_keep(who->handle));
        return;
    }
    leadership_error *error = leadership_txn_new(term, &txn);
    struct bytes key = decode(needed(step, "key")), value = decode(needed(step, "value"));
    if (!error) error = leadership_txn_then_put(txn, key.data, key.len, value.data, value.len, 0);
    if (!error && argument(step, "when", 0)) {
        leadership_compare *compare = compare_of(argument(step, "when", 0));
        error = leadership_txn_when(txn, compare);
        leadership_compare_free(compare);
    }
    if (!error && argument(step, "else_key", 0)) {
        key = decode(needed(step, "else_key"));
        value = decode(needed(step, "else_value"));
        error = leadership_txn_else_put(txn, key.data, key.len, value.data, value.len, 0);
    }
    if (!error) error = leadership_txn_commit(txn, PATIENCE_MS, NULL, &reply);
    if (error) answer_error(step, error);
    else answer_bool(step, leadership_txn_reply_succeeded(reply));
    leadership_txn_reply_free(reply);
    leadership_txn_free(txn);
    leadership_term_free(term);
}

static int64_t seen_revision(void) {
    leadership_testkit_kv *kv = NULL;
    must_kit(leadership_testkit_server_get(server, "k", &kv));
    int64_t revision = leadership_testkit_kv_mod_revision(kv);
    leadership_testkit_kv_free(kv);
    return revision;
}

/* The verbs about the term. */
static bool play_term(struct contender *who, struct step *step, const char *verb) {
    leadership_term *term = NULL;
    leadership_testkit_kv *kv = NULL;
    uint32_t reason = LEADERSHIP_REASON_NONE;
    must(leadership_get_term(who->handle, &term));
    bool known = true;
    if (strcmp(verb, "lost") == 0) {
        reason = leadership_term_lost_reason(term);
        answer(step, "%s", reason == LEADERSHIP_REASON_NONE ? "none" : leadership_reason_name(reason));
    } else if (strcmp(verb, "await_lost") == 0) {
        leadership_error *error = leadership_term_wait_lost(term, WAIT_MS, NULL, &reason);
        if (error) answer_error(step, error);
        else answer(step, "%s", leadership_reason_name(reason));
    } else if (strcmp(verb, "token_is_create") == 0) {
        must_kit(leadership_testkit_server_get(server, "k", &kv));
        answer_bool(step, leadership_term_token(term) == leadership_testkit_kv_create_revision(kv));
        leadership_testkit_kv_free(kv);
    } else {
        known = false;
    }
    leadership_term_free(term);
    return known;
}

/* The verbs about the lease that was granted. */
static bool play_lease(struct contender *who, struct step *step, const char *verb) {
    if (strcmp(verb, "grant") == 0) {
        uint64_t ttl_ms = strtoull(needed(step, "ttl"), NULL, 10) * 1000u;
        answer_done(step, leadership_lease_grant(who->client, ttl_ms, "surface", PATIENCE_MS, NULL, &who->lease));
    } else if (strcmp(verb, "ttl_granted") == 0) {
        answer(step, "%" PRIu64, leadership_lease_ttl_ms(who->lease) / 1000u);
    } else if (strcmp(verb, "expired") == 0) {
        answer_bool(step, leadership_lease_is_expired(who->lease));
    } else if (strcmp(verb, "close_lease") == 0) {
        answer_done(step, leadership_lease_close(who->lease, PATIENCE_MS, NULL));
    } else if (strcmp(verb, "keep_alive") == 0) {
        answer_done(step, leadership_lease_keep_alive(who->lease));
    } else if (strcmp(verb, "set_lease") == 0) {
        answer_done(step, leadership_set_lease(who->handle, who->lease));
    } else {
        return false;
    }
    return true;
}

/* The getters, and who leads. */
static bool play_getter(struct contender *who, struct step *step, const char *verb) {
    size_t len = 0;
    if (strcmp(verb, "value") == 0) {
        leadership_bytes *value = NULL;
        must(leadership_value(who->handle, &value));
        const uint8_t *data = leadership_bytes_data(value, &len);
        answer_bytes(step, data, len);
        leadership_bytes_free(value);
    } else if (strcmp(verb, "key") == 0) {
        const uint8_t *data = leadership_key(who->handle, &len);
        answer_bytes(step, data, len);
    } else if (strcmp(verb, "purpose") == 0) {
        answer(step, "%s", leadership_purpose(who->handle));
    } else if (strcmp(verb, "leader") == 0) {
        leadership_leader *leader = NULL;
        leadership_error *error = leadership_client_get_leader(who->client, bytes_of("k"), 1, PATIENCE_MS, NULL, &leader);
        const uint8_t *data = leadership_leader_value(leader, &len);
        if (error) answer_error(step, error);
        else if (!leader) answer(step, "none");
        else answer_bytes(step, data, len);
        leadership_leader_free(leader);
    } else if (strcmp(verb, "campaigns") == 0) {
        uint64_t times = 0;
        leadership_error *error = leadership_get_campaign_times_num(who->handle, &times);
        if (error) answer_error(step, error);
        else answer(step, "%" PRIu64, times);
    } else if (strcmp(verb, "is_primary") == 0) {
        answer_bool(step, leadership_is_primary(who->handle));
    } else if (strcmp(verb, "check") == 0) {
        answer_bool(step, leadership_check(who->handle));
    } else {
        return false;
    }
    return true;
}

static void play_watch(struct contender *who, struct step *step) {
    uint32_t kind = 0;
    int64_t revision = 0;
    leadership_error *error =
        leadership_watch(who->handle, strtoll(needed(step, "revision"), NULL, 10), WAIT_MS, NULL, &kind, &revision);
    if (error) answer_error(step, error);
    else if (kind == LEADERSHIP_WATCH_DELETED) answer(step, "deleted");
    else if (kind == LEADERSHIP_WATCH_OVERWRITTEN) answer(step, "overwritten");
    else answer(step, "kind %" PRIu32, kind);
}

static void play_contender(struct contender *who, struct step *step) {
    const char *verb = step->words[1];
    if (strcmp(verb, "campaign") == 0) answer_done(step, play_campaign(who, step));
    else if (strcmp(verb, "keep") == 0) answer_done(step, leadership_keep(who->handle));
    else if (strcmp(verb, "reset") == 0) answer_done(step, leadership_reset(who->handle, PATIENCE_MS, NULL));
    else if (strcmp(verb, "delete_leader_key") == 0)
        answer_done(step, leadership_delete_leader_key(who->handle, PATIENCE_MS, NULL));
    else if (strcmp(verb, "delete_at") == 0) {
        const char *text = needed(step, "revision");
        int64_t revision = strcmp(text, "seen") == 0 ? seen_revision() : strtoll(text, NULL, 10);
        answer_done(step, leadership_delete_leader_key_at(who->handle, revision, PATIENCE_MS, NULL));
    } else if (strcmp(verb, "put") == 0) play_put(who, step);
    else if (strcmp(verb, "watch") == 0) play_watch(who, step);
    else if (strcmp(verb, "primary") == 0)
        answer_done(step, leadership_set_primary_watch(who->handle, strcmp(needed(step, "on"), "true") == 0));
    else if (strcmp(verb, "add_campaign") == 0) answer_done(step, leadership_add_campaign_times(who->handle));
    else if (strcmp(verb, "reset_campaigns") == 0) answer_done(step, leadership_reset_campaign_times(who->handle));
    else if (strcmp(verb, "new") == 0) {
        leadership_handle *another = NULL;
        struct bytes key = decode(needed(step, "key"));
        answer_done(step, leadership_new(who->client, key.data, key.len, NULL, &another));
        leadership_free(another);
    } else if (strcmp(verb, "close") == 0) answer_done(step, leadership_client_close(who->client, PATIENCE_MS, NULL));
    else if (!play_term(who, step, verb) && !play_lease(who, step, verb) && !play_getter(who, step, verb))
        answer(step, "no verb of a contender");
}

static struct contender *contender(const char *name) {
    struct contender *who = contenders;
    for (; who < contenders + MOST_CONTENDERS && who->name[0]; who++) {
        if (strcmp(who->name, name) == 0) return who;
    }
    if (who == contenders + MOST_CONTENDERS) exit(1);
    leadership_options *options = NULL;
    snprintf(who->name, sizeof who->name, "%s", name);
    must(leadership_client_connect(leadership_testkit_server_endpoint(server), NULL, &who->client));
    /* The first connection of a process takes seconds under valgrind, longer than a request may. */
    must(leadership_client_ready(who->client, PATIENCE_MS, NULL));
    must(leadership_options_new(&options));
    must(leadership_options_set_purpose(options, "surface"));
    must(leadership_new(who->client, bytes_of("k"), 1, options, &who->handle));
    leadership_options_free(options);
    return who;
}

static void play_stranger(struct step *step) {
    const char *verb = step->words[1];
    answer(step, "ok");
    if (strcmp(verb, "put") == 0) {
        struct bytes value = decode(needed(step, "value"));
        must_kit(leadership_testkit_server_put(server, needed(step, "key"), value.data, value.len, 0, NULL));
    } else if (strcmp(verb, "delete") == 0) {
        must_kit(leadership_testkit_server_delete(server, needed(step, "key"), NULL));
    } else if (strcmp(verb, "revoke") == 0) {
        leadership_term *term = NULL;
        must(leadership_get_term(contender(needed(step, "who"))->handle, &term));
        must_kit(leadership_testkit_server_revoke(server, leadership_term_lease_id(term)));
        leadership_term_free(term);
    } else if (strcmp(verb, "get") == 0) {
        leadership_testkit_kv *kv = NULL;
        size_t len = 0;
        must_kit(leadership_testkit_server_get(server, needed(step, "key"), &kv));
        const uint8_t *value = leadership_testkit_kv_value(kv, &len);
        if (kv) answer_bytes(step, value, len);
        else answer(step, "none");
        leadership_testkit_kv_free(kv);
    } else {
        answer(step, "no verb of the stranger");
    }
}

/* The detail of an error may be left out in the table. */
static bool is_as_told(const char *expected, const char *got) {
    size_t len = strlen(expected);
    if (strcmp(expected, got) == 0) return true;
    return strncmp(expected, "error ", 6) == 0 && !strchr(expected + 6, ' ') && strncmp(expected, got, len) == 0 && got[len] == ' ';
}

static void end_case(void) {
    for (struct contender *who = contenders; who < contenders + MOST_CONTENDERS && who->name[0]; who++) {
        leadership_lease_free(who->lease);
        leadership_free(who->handle);
        must(leadership_client_close(who->client, PATIENCE_MS, NULL));
        leadership_client_free(who->client);
    }
    memset(contenders, 0, sizeof contenders);
    leadership_testkit_server_free(server);
    server = NULL;
}

static char *trimmed(char *text) {
    while (isspace((unsigned char)*text)) text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1])) *--end = '\0';
    return text;
}

static void play_line(char *line, int number) {
    struct step step = {.number = number};
    char shown[512];
    snprintf(shown, sizeof shown, "line %d: %s", number, line);
    char *arrow = strstr(line, "->");
    if (!arrow || !server) {
        check(0, "a step has an answer and a case");
        return;
    }
    *arrow = '\0';
    step.expected = trimmed(arrow + 2);
    char *rest = NULL;
    for (char *word = strtok_r(line, " ", &rest); word && step.count < MOST_WORDS; word = strtok_r(NULL, " ", &rest)) {
        step.words[step.count++] = word;
    }
    if (step.count < 2) {
        check(0, "a step has somebody and a verb");
        return;
    }
    if (strcmp(step.words[0], "stranger") == 0) play_stranger(&step);
    else play_contender(contender(step.words[0]), &step);
    if (!check(is_as_told(step.expected, step.got), shown)) printf("# got: %s\n", step.got);
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "tests/surface/surface.txt";
    FILE *table = fopen(path, "r");
    char line[512];
    if (!table) {
        perror(path);
        return 1;
    }
    check(!is_as_told("error NotElected two", "error NotElected one") && !is_as_told("", "none"), "a difference is seen");
    for (int number = 1; fgets(line, sizeof line, table); number++) {
        char *text = trimmed(line);
        if (strncmp(text, "case ", 5) == 0) {
            end_case();
            must_kit(leadership_testkit_server_start(NULL, &server));
            printf("# %s\n", text);
        } else if (*text && *text != '#') {
            play_line(text, number);
        }
    }
    end_case();
    fclose(table);
    check(tap_passed + tap_failed > 100, "the table was played");
    return tap_end();
}
