// The slice through the C header from C++17: win, check, write guarded, lose, be told of it, take over, cancel.
// Owns that the header serves C++ (owners, lambdas, threads); what C does beyond that is slice.c's.
//
// usage: slice [ENDPOINT]   An etcd to run on; without, a test server of its own.
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "steps.h"

namespace {

// An owner of a C object, by the function that frees it.
template <auto Free>
struct freed {
    template <typename T>
    void operator()(T *object) const { Free(object); }
};
using client_ptr = std::unique_ptr<leadership_client, freed<leadership_client_free>>;
using handle_ptr = std::unique_ptr<leadership_handle, freed<leadership_free>>;
using term_ptr = std::unique_ptr<leadership_term, freed<leadership_term_free>>;
using cancel_ptr = std::unique_ptr<leadership_cancel, freed<leadership_cancel_free>>;
using error_ptr = std::unique_ptr<leadership_error, freed<leadership_error_free>>;
using leader_ptr = std::unique_ptr<leadership_leader, freed<leadership_leader_free>>;

const std::string key = "abi/slice-cpp/leader";

// What the callback was told; owned by the registration, which lets go of it by its drop.
struct told {
    std::atomic<int> elected{0}, lost{0};
    std::atomic<std::uint32_t> reason{0};
    std::promise<void> dropped;
};

void on_event(void *user_data, const leadership_event *event) {
    auto &told = **static_cast<std::shared_ptr<struct told> *>(user_data);
    switch (leadership_event_kind(event)) {
    case LEADERSHIP_EVENT_ELECTED:
        ++told.elected;
        break;
    case LEADERSHIP_EVENT_LOST:
        told.reason = leadership_event_reason(event);
        ++told.lost;
        break;
    default:
        break;
    }
}

void on_drop(void *user_data) {
    std::unique_ptr<std::shared_ptr<struct told>> owner(static_cast<std::shared_ptr<struct told> *>(user_data));
    (*owner)->dropped.set_value();
}

void an_event_is_told_and_let_go_of(leadership_client *client, leadership_client *stranger) {
    auto told = std::make_shared<struct told>();
    auto dropped = told->dropped.get_future();
    handle_ptr handle(contender(client, key.c_str()));
    must(leadership_on_event(handle.get(), on_event, new std::shared_ptr<struct told>(told), on_drop));
    term_ptr term(win(handle.get(), "cpp"));
    check(leadership_check(handle.get()) && leadership_term_valid(term.get()), "the winner leads");
    bool succeeded = false;
    must(guarded_put(term.get(), "abi/slice-cpp/state", "1", &succeeded));
    check(succeeded, "a guarded write is applied");

    leadership_leader *found = nullptr;
    must(leadership_client_get_leader(stranger, bytes_of(key.c_str()), key.size(), PATIENCE_MS, nullptr, &found));
    leader_ptr leader(found);
    std::size_t len = 0;
    const auto *value = leadership_leader_value(leader.get(), &len);
    check(std::string(value, value + len) == "cpp" && leadership_leader_token(leader.get()) == leadership_term_token(term.get()),
          "the others see who leads, and the token");

    handle_ptr other(contender(stranger, key.c_str()));
    must(leadership_delete_leader_key_at(other.get(), leadership_leader_mod_revision(leader.get()), PATIENCE_MS, nullptr));
    std::uint32_t reason = LEADERSHIP_REASON_NONE;
    must(leadership_term_wait_lost(term.get(), PATIENCE_MS, nullptr, &reason));
    check(reason == LEADERSHIP_REASON_KEY_DELETED && !leadership_check(handle.get()), "a deleted key ends the term");
    eventually(told->lost == 1, "the callback was told of the loss");
    check(told->elected == 1 && told->reason == LEADERSHIP_REASON_KEY_DELETED, "of one election, and why it ended");

    term_ptr next(win(other.get(), "other"));
    check(leadership_term_token(next.get()) > leadership_term_token(term.get()), "the other takes over, with a larger token");
    error_ptr error(guarded_put(term.get(), "abi/slice-cpp/state", "2", &succeeded));
    check(leadership_error_code(error.get()) == LEADERSHIP_ERROR_NOT_LEADER, "the deposed one's write is refused");

    handle.reset();
    check(dropped.wait_for(std::chrono::milliseconds(PATIENCE_MS)) == std::future_status::ready,
          "freeing the handle lets go of the callback's data");
    must(leadership_reset(other.get(), PATIENCE_MS, nullptr));
}

void a_wait_in_another_thread_is_cancelled(leadership_client *client) {
    handle_ptr handle(contender(client, "abi/slice-cpp/watched"));
    term_ptr term(win(handle.get(), "cpp"));
    leadership_cancel *made = nullptr;
    must(leadership_cancel_new(&made));
    cancel_ptr cancel(made);
    auto waiting = std::async(std::launch::async, [&] {
        std::uint32_t reason = 0;
        error_ptr error(leadership_term_wait_lost(term.get(), LEADERSHIP_FOREVER, cancel.get(), &reason));
        return leadership_error_code(error.get());
    });
    must(leadership_cancel_trigger(cancel.get()));
    check(waiting.get() == LEADERSHIP_ERROR_CANCELLED, "a wait in another thread ends with its cancel");
    must(leadership_reset(handle.get(), PATIENCE_MS, nullptr));
}

// Case 43: one handle, many threads.
void many_threads_share_a_handle(leadership_client *client) {
    handle_ptr handle(contender(client, "abi/slice-cpp/shared"));
    std::atomic<int> wins{0}, refused{0}, other{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++) {
        threads.emplace_back([&] {
            leadership_term *won = nullptr;
            error_ptr error(campaign(handle.get(), "shared", PATIENCE_MS, nullptr, &won));
            term_ptr term(won);
            switch (leadership_error_code(error.get())) {
            case 0:
                ++wins;
                break;
            case LEADERSHIP_ERROR_UNAVAILABLE: // another campaign of this handle is under way
            case LEADERSHIP_ERROR_NOT_ELECTED:
                ++refused;
                break;
            default:
                ++other;
            }
            for (int n = 0; n < 1000; n++) (void)leadership_check(handle.get());
        });
    }
    for (auto &thread : threads) thread.join();
    check(wins == 1 && refused == 7 && other == 0, "of eight threads that campaign with one handle, one wins");
    must(leadership_reset(handle.get(), PATIENCE_MS, nullptr));
}

} // namespace

int main(int argc, char **argv) {
    leadership_testkit_server *server = nullptr;
    const char *endpoint = endpoint_or_server(argc, argv, &server);
    {
        client_ptr one(connect_to(endpoint)), two(connect_to(endpoint));
        an_event_is_told_and_let_go_of(one.get(), two.get());
        a_wait_in_another_thread_is_cancelled(one.get());
        many_threads_share_a_handle(two.get());
        must(leadership_client_close(one.get(), PATIENCE_MS, nullptr));
        must(leadership_client_close(two.get(), PATIENCE_MS, nullptr));
    }
    leadership_testkit_server_free(server);
    return tap_end();
}
