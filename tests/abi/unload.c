/* Case 40: dlclose of the library while a client leads. Its threads run on in code that stays: the term is kept.
 * Owns loading and unloading; this program is not linked with the libraries and looks each function up. */
#include <dlfcn.h>

#include "tap.h"

/* `name`, as the header declares it, from the library at hand. */
#define look_up(library, name) __typeof__(&name) p_##name = (__typeof__(&name))(uintptr_t)found((library), #name)

static void *found(void *library, const char *name) {
    void *symbol = library ? dlsym(library, name) : NULL;
    if (!symbol) {
        printf("Bail out! %s: %s\n0 passed, 1 failed\n", name, dlerror());
        exit(1);
    }
    return symbol;
}

static void *loaded(const char *soname) {
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    if (!library) printf("# %s\n", dlerror());
    return library;
}

static void pause_ms(long ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

int main(int argc, char **argv) {
    void *testkit = NULL;
    const char *endpoint = argc > 1 ? argv[1] : NULL;
    if (!endpoint) {
        testkit = loaded("libleadership_testkit.so.0");
        look_up(testkit, leadership_testkit_server_start);
        look_up(testkit, leadership_testkit_server_endpoint);
        static leadership_testkit_server *server;
        if (p_leadership_testkit_server_start(NULL, &server)) return 1;
        endpoint = p_leadership_testkit_server_endpoint(server);
    }
    void *library = loaded("libleadership.so.0");
    look_up(library, leadership_client_connect);
    look_up(library, leadership_client_ready);
    look_up(library, leadership_new);
    look_up(library, leadership_campaign);
    look_up(library, leadership_keep);
    look_up(library, leadership_term_valid);
    look_up(library, leadership_term_ttl_ms);

    static leadership_client *client; /* static: held to the very end */
    static leadership_handle *handle;
    static leadership_term *term;
    const char *key = "abi/unload/leader";
    bool won = !p_leadership_client_connect(endpoint, NULL, &client) &&
               !p_leadership_client_ready(client, PATIENCE_MS, NULL) &&
               !p_leadership_new(client, bytes_of(key), strlen(key), NULL, &handle) &&
               !p_leadership_campaign(handle, NULL, PATIENCE_MS, NULL, &term) && !p_leadership_keep(handle);
    check(won && p_leadership_term_valid(term), "a loaded library wins");

    if (testkit) check(dlclose(testkit) == 0, "the test server's library is closed while it serves");
    check(dlclose(library) == 0, "the library is closed while a client leads");
    void *still = dlopen("libleadership.so.0", RTLD_NOW | RTLD_NOLOAD);
    if (!check(still, "it stays loaded")) return tap_end(); /* the next call would crash */
    if (testkit && !check(dlopen("libleadership_testkit.so.0", RTLD_NOW | RTLD_NOLOAD), "so does the test server's")) return tap_end();
    pause_ms((long)p_leadership_term_ttl_ms(term) + 1000); /* longer than a term lives without its threads */
    check(p_leadership_term_valid(term), "the term is kept beyond its TTL");
    printf("# ends with the client open\n");
    return tap_end();
}
