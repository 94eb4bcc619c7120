#include "client/cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16 * 1024 * 1024, EXIT_MS = 5000, TERM_MS = 2000, STEP_MS = 10 };

struct child {
    pid_t pid;
    int in, out; /* its standard input and output */
    bool ended;  /* its output is closed */
    struct buf output;
    size_t line; /* bytes of `output` that the last line has, to be dropped */
};

static void close_pipe(int pipe_of[2])
{
    (void)close(pipe_of[0]);
    (void)close(pipe_of[1]);
}

/* The child's ends become 0 and 1; all others are closed by exec. */
static int spawn(char *const *command, int in, int out, pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults, none;
    (void)sigemptyset(&none);
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    (void)sigaddset(&defaults, SIGINT);
    (void)sigaddset(&defaults, SIGTERM);
    int result = posix_spawn_file_actions_init(&actions);
    if (result != 0) {
        return result;
    }
    result = posix_spawnattr_init(&attributes);
    if (result == 0) {
        (void)posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
        (void)posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                                        POSIX_SPAWN_SETSIGMASK);
        (void)posix_spawnattr_setsigdefault(&attributes, &defaults);
        (void)posix_spawnattr_setsigmask(&attributes, &none);
        result = posix_spawnp(out_pid, command[0], &actions, &attributes, command, environ);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return result;
}

enum status child_start(char *const *command, struct child **out, struct error *error)
{
    int in[2], answers[2];
    struct child *child = calloc(1, sizeof(*child));
    if (child == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    if (pipe2(in, O_CLOEXEC) != 0) {
        free(child);
        return error_set(error, STATUS_IO, "no pipe can be made: %s", strerror(errno));
    }
    if (pipe2(answers, O_CLOEXEC) != 0) {
        close_pipe(in);
        free(child);
        return error_set(error, STATUS_IO, "no pipe can be made: %s", strerror(errno));
    }
    int result = spawn(command, in[0], answers[1], &child->pid);
    if (result != 0) {
        close_pipe(in);
        close_pipe(answers);
        free(child);
        return error_set(error, STATUS_IO, "'%.120s' cannot be started: %s", command[0],
                         strerror(result));
    }
    (void)close(in[0]);
    (void)close(answers[1]);
    child->in = in[1];
    child->out = answers[0];
    (void)fcntl(child->in, F_SETFL, O_NONBLOCK);
    (void)fcntl(child->out, F_SETFL, O_NONBLOCK);
    *out = child;
    return STATUS_OK;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int patience(uint64_t begin, uint32_t timeout_ms)
{
    if (timeout_ms == 0) {
        return -1;
    }
    uint64_t spent = now_ms() - begin;
    return spent >= timeout_ms ? 0 : (int)(timeout_ms - spent);
}

/* What it has printed. */
NODISCARD static enum status take_output(struct child *child, struct error *error)
{
    if (child->output.size > LINE_MAX_BYTES) {
        return error_set(error, STATUS_TOO_LARGE, "it prints a line of more than %d bytes",
                         LINE_MAX_BYTES);
    }
    if (buf_reserve(&child->output, 64 * 1024) != STATUS_OK) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    ssize_t got = read(child->out, child->output.data + child->output.size, 64 * 1024);
    if (got > 0) {
        child->output.size += (size_t)got;
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        child->ended = true;
    }
    return STATUS_OK;
}

NODISCARD static enum status wait_for(struct child *child, bool writing, uint64_t begin,
                                      uint32_t timeout_ms, struct error *error)
{
    struct pollfd fds[2] = {
        {.fd = child->ended ? -1 : child->out, .events = POLLIN },
        {.fd = writing ? child->in : -1,       .events = POLLOUT},
    };
    int ready = poll(fds, 2, patience(begin, timeout_ms));
    if (ready == 0) {
        return error_set(error, STATUS_TIMEOUT, "it has not answered within %u ms", timeout_ms);
    }
    return ready > 0 && fds[0].revents != 0 ? take_output(child, error) : STATUS_OK;
}

enum status child_write(struct child *child, struct bytes text, uint32_t timeout_ms,
                        struct error *error)
{
    uint64_t begin = now_ms();
    enum status status = STATUS_OK;
    while (status == STATUS_OK && text.size > 0) {
        ssize_t put = write(child->in, text.data, text.size);
        if (put > 0) {
            text = bytes_of(text.data + put, text.size - (size_t)put);
        } else if (errno != EAGAIN && errno != EINTR) {
            return error_set(error, STATUS_IO, "it does not read its standard input any more");
        } else {
            status = wait_for(child, true, begin, timeout_ms, error);
        }
    }
    return status;
}

static const char *how_it_ended(struct child *child, char out[64])
{
    int how = 0;
    pid_t gone = 0;
    for (int i = 0; i < 100 && gone == 0; i++) { /* its pipe is closed just before it is gone */
        gone = waitpid(child->pid, &how, WNOHANG);
        if (gone == 0) {
            (void)poll(NULL, 0, STEP_MS);
        }
    }
    if (gone == child->pid) {
        child->pid = 0;
    }
    if (gone > 0 && WIFEXITED(how)) {
        (void)snprintf(out, 64, "it exited with code %d", WEXITSTATUS(how));
    } else if (gone > 0 && WIFSIGNALED(how)) {
        (void)snprintf(out, 64, "it was ended by signal %d", WTERMSIG(how));
    } else {
        (void)snprintf(out, 64, "it has closed its standard output");
    }
    return out;
}

enum status child_read(struct child *child, uint32_t timeout_ms, struct bytes *out,
                       struct error *error)
{
    uint64_t begin = now_ms();
    enum status status = STATUS_OK;
    buf_consume(&child->output, child->line);
    child->line = 0;
    while (status == STATUS_OK) {
        const uint8_t *end =
            child->output.size > 0 ? memchr(child->output.data, '\n', child->output.size) : NULL;
        if (end != NULL) {
            size_t size = (size_t)(end - child->output.data);
            child->line = size + 1;
            *out = bytes_of(child->output.data, size);
            return STATUS_OK;
        }
        if (child->ended) {
            char how[64];
            return error_set(error, STATUS_IO, "%s", how_it_ended(child, how));
        }
        status = wait_for(child, false, begin, timeout_ms, error);
    }
    return status;
}

static bool is_gone_within(const struct child *child, uint32_t ms)
{
    for (uint32_t spent = 0; spent <= ms; spent += STEP_MS) {
        if (waitpid(child->pid, NULL, WNOHANG) != 0) {
            return true;
        }
        (void)poll(NULL, 0, STEP_MS);
    }
    return false;
}

void child_end(struct child *child, bool now)
{
    if (child == NULL) {
        return;
    }
    (void)close(child->in);
    if (child->pid != 0 && (now || !is_gone_within(child, EXIT_MS))) {
        (void)kill(-child->pid, now ? SIGKILL : SIGTERM);
        if (!is_gone_within(child, TERM_MS)) {
            (void)kill(-child->pid, SIGKILL);
            (void)waitpid(child->pid, NULL, 0);
        }
    }
    (void)close(child->out);
    buf_release(&child->output);
    free(child);
}
