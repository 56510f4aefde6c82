/* wsload: many WebSocket clients on one thread, which check and time what they receive.
 *
 * Each client subscribes to `--each` topics, client i to the topics (i * each + j) % topics; topic k is the workflow wf_<k>, the
 * bot bot_<k> and the strategy strategy_<k>. Two protocols are spoken:
 *
 *   socketio  Engine.IO 4 and Socket.IO 5 over WebSocket, with the commands subscribe_workflow, subscribe_bot, subscribe_strategy
 *   plain     a bare WebSocket; the path has the topic's number in the place of %d
 *
 * An event carries "mark":[topic,sequence,time]: the topic's number, the event's number in its topic (from 0), and the
 * CLOCK_MONOTONIC time in ns at which it was published. Each client must get each topic's numbers without a hole.
 *
 * Standard output has one JSON object per phase:
 *   joined      every client is connected (with --hold, which waits for the command `subscribe`)
 *   subscribed  every client has its subscriptions, and with --replay also that many recent events
 *   counting    the command `count` has been obeyed: what is published from now on is counted
 *   counted     what came since then
 * Commands come by standard input, one per line; its end ends the program:
 *   subscribe     subscribe all clients at once
 *   count N       count from zero; `counted` comes when N events that were published since this was obeyed have been
 *                 delivered. Earlier ones that still come are counted as `late`
 *   report        `counted` comes now
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "websocket.h"

/* Clients take turns over so many source addresses: servers limit the clients of one, or choose a process by it, and a pair of
 * addresses has only some 28,000 ports. */
enum { ADDRESSES = 64, MAX_EVENTS = 512, MAX_FRAME = 8 << 20, COMMAND_ROOM = 256, PACKET_ROOM = 128 };

enum state { UNUSED, CONNECTING, UPGRADING, OPENING, JOINING, JOINED, SUBSCRIBING, READY, FAILED };

struct client {
    int fd;
    enum state state;
    int confirmed;        /* subscriptions that the server has confirmed */
    long replayed;        /* events that came as recent events */
    long delivered;       /* events that came live, since the last `count` */
    int32_t *next;        /* per topic of this client: the sequence number that comes next */
    unsigned char *rest;  /* the beginning of a message whose end has not come yet */
    size_t rest_size;
};

static struct {
    int clients, port, topics, each, window, hold, plain;
    long replay;
    const char *path;
    char *kinds[3];
    int kind_count;
} options = {.clients = 100, .topics = 1, .each = 1, .path = "/socket.io/?EIO=4&transport=websocket", .kind_count = 1};

/* What has happened so far. */
static struct {
    int opened, joined, ready, failed;
    int64_t started_ns, joined_ns, subscribe_ns, ready_ns;
} progress;

/* What came since the last `count`. */
static struct {
    long wanted, delivered, late, bytes, reads, missing, repeated, stray;
    int64_t since_ns, last_ns;
    double cpu_s;
    int active;
} count;

static struct histogram latency;
static struct client *clients;
static int poller;
static unsigned char inbox[MAX_FRAME];

/* -- small things ------------------------------------------------------------------------------------------------------ */

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static double cpu_s(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static double seconds(int64_t from_ns, int64_t to_ns) { return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0; }

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("wsload: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(2);
}

/* The first failures are told; a thousand more would tell nothing new. */
static void fail(struct client *client, const char *reason, size_t size) {
    if (progress.failed++ < 3) fprintf(stderr, "wsload: client %ld failed: %.*s\n", client - clients, (int)size, reason);
    if (client->state == READY) progress.ready--;
    client->state = FAILED;
    close(client->fd);
    free(client->rest);
    client->rest = NULL;
    client->rest_size = 0;
}

static void fail_text(struct client *client, const char *reason) { fail(client, reason, strlen(reason)); }

/* All that a client sends is small: it fits into the socket's empty buffer. */
static void put(struct client *client, const void *data, size_t size) {
    if (write(client->fd, data, size) != (ssize_t)size) fail_text(client, strerror(errno));
}

static void put_text(struct client *client, const char *text) {
    unsigned char out[COMMAND_ROOM];
    put(client, out, frame_write(out, OP_TEXT, text, strlen(text)));
}

static int begins(const char *text, size_t size, const char *with) {
    size_t length = strlen(with);
    return size >= length && memcmp(text, with, length) == 0;
}

/* -- phases ------------------------------------------------------------------------------------------------------------ */

static void say_joined(void) {
    printf("{\"phase\":\"joined\",\"joined\":%d,\"failed\":%d,\"joined_s\":%.6f}\n", progress.joined, progress.failed,
           seconds(progress.started_ns, progress.joined_ns));
    fflush(stdout);
}

static void say_subscribed(void) {
    int64_t from = options.hold ? progress.subscribe_ns : progress.started_ns;
    printf("{\"phase\":\"subscribed\",\"ready\":%d,\"failed\":%d,\"joined_s\":%.6f,\"subscribed_s\":%.6f,\"missing\":%ld,"
           "\"repeated\":%ld,\"stray\":%ld,\"cpu_s\":%.6f}\n",
           progress.ready, progress.failed, seconds(progress.started_ns, progress.joined_ns),
           seconds(from, progress.ready_ns), count.missing, count.repeated, count.stray, cpu_s());
    fflush(stdout);
}

static void say_counted(void) {
    long least = options.clients ? clients[0].delivered : 0, most = 0;
    for (int index = 0; index < options.clients; index++) {
        if (clients[index].delivered < least) least = clients[index].delivered;
        if (clients[index].delivered > most) most = clients[index].delivered;
    }
    printf("{\"phase\":\"counted\",\"delivered\":%ld,\"late\":%ld,\"bytes\":%ld,\"reads\":%ld,\"missing\":%ld,\"repeated\":%ld,\"stray\":%ld,"
           "\"least\":%ld,\"most\":%ld,\"failed\":%d,\"seconds\":%.6f,\"cpu_s\":%.6f,",
           count.delivered, count.late, count.bytes, count.reads, count.missing, count.repeated, count.stray, least, most,
           progress.failed, seconds(count.since_ns, count.last_ns), cpu_s() - count.cpu_s);
    printf("\"latency_ms\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}}\n",
           histogram_percentile_ms(&latency, 0.5), histogram_percentile_ms(&latency, 0.9),
           histogram_percentile_ms(&latency, 0.99), histogram_percentile_ms(&latency, 0.999), (double)latency.max_us / 1e3);
    fflush(stdout);
    count.active = 0;
}

static void begin_count(long wanted) {
    memset(&count, 0, sizeof count);
    histogram_clear(&latency);
    for (int index = 0; index < options.clients; index++) clients[index].delivered = 0;
    count.wanted = wanted;
    count.since_ns = count.last_ns = now_ns();
    count.cpu_s = cpu_s();
    count.active = 1;
    puts("{\"phase\":\"counting\"}");
    fflush(stdout);
}

static void check_phases(void) {
    int ended = progress.failed == options.clients;
    if (!progress.joined_ns && progress.joined + progress.failed >= options.clients) {
        progress.joined_ns = now_ns();
        if (options.hold) say_joined();
    }
    if (!progress.ready_ns && (progress.ready + progress.failed >= options.clients || ended)) {
        progress.ready_ns = now_ns();
        say_subscribed();
    }
    if (count.active && (count.delivered >= count.wanted || ended)) say_counted();
}

/* -- events ------------------------------------------------------------------------------------------------------------ */

static void check_sequence(struct client *client, long topic, long sequence) {
    long offset = (client - clients) * (long)options.each;
    long place = ((topic - offset) % options.topics + options.topics) % options.topics;
    if (topic < 0 || topic >= options.topics || place >= options.each) {
        count.stray++;
        return;
    }
    int32_t *next = &client->next[place];
    if (sequence < *next) {
        count.repeated++;
        return;
    }
    count.missing += sequence - *next;
    *next = (int32_t)sequence + 1;
}

/* Finds the next mark in the text and checks its sequence number. Returns what follows it, NULL when there is none;
 * `published_ns` is set. */
static const char *take_mark(struct client *client, const char *text, const char *end, int64_t *published_ns) {
    static const char name[] = "\"mark\":[";
    char *at = memmem(text, (size_t)(end - text), name, sizeof name - 1);
    if (at == NULL) return NULL;
    long topic = strtol(at + sizeof name - 1, &at, 10);
    long sequence = strtol(at + 1, &at, 10);
    *published_ns = strtoll(at + 1, &at, 10);
    check_sequence(client, topic, sequence);
    return at;
}

static void take_event(struct client *client, const char *text, size_t size, int64_t at_ns) {
    int64_t published_ns;
    if (take_mark(client, text, text + size, &published_ns) == NULL) {
        count.stray++;
        return;
    }
    if (published_ns < count.since_ns) {
        count.late++;
        return;
    }
    client->delivered++;
    count.delivered++;
    count.last_ns = at_ns;
    histogram_add(&latency, at_ns > published_ns ? (uint64_t)(at_ns - published_ns) / 1000 : 0);
}

static void take_recent(struct client *client, const char *text, size_t size) {
    const char *end = text + size;
    int64_t published_ns;
    while ((text = take_mark(client, text, end, &published_ns)) != NULL) client->replayed++;
}

/* -- protocol ---------------------------------------------------------------------------------------------------------- */

static void join(struct client *client) {
    client->state = JOINED;
    progress.joined++;
}

static void check_ready(struct client *client) {
    if (client->state != SUBSCRIBING) return;
    if (client->confirmed < options.each * options.kind_count || client->replayed < options.replay) return;
    client->state = READY;
    progress.ready++;
}

static void subscribe(struct client *client) {
    static const char *const prefix[] = {"wf", "bot", "strategy"};
    int packets = options.each * options.kind_count;
    unsigned char out[packets * PACKET_ROOM], *end = out;
    for (int place = 0; place < packets; place++) {
        const char *kind = options.kinds[place % options.kind_count];
        int topic = (int)(((client - clients) * (long)options.each + place / options.kind_count) % options.topics);
        const char *id = prefix[kind[0] == 'b' ? 1 : kind[0] == 's' ? 2 : 0];
        char text[PACKET_ROOM];
        int size = snprintf(text, sizeof text, "42[\"subscribe_%s\",{\"%s_id\":\"%s_%d\"}]", kind, kind, id, topic);
        end += frame_write(end, OP_TEXT, text, (size_t)size);
    }
    client->state = SUBSCRIBING;
    put(client, out, (size_t)(end - out));
}

static void subscribe_all(void) {
    progress.subscribe_ns = now_ns();
    for (int index = 0; index < options.clients; index++)
        if (clients[index].state == JOINED) subscribe(&clients[index]);
}

static void take_packet(struct client *client, const char *text, size_t size, int64_t at_ns) {
    if (begins(text, size, "42[\"workflow_event\"")) {
        take_event(client, text, size, at_ns);
    } else if (size == 1 && text[0] == '2') {
        put_text(client, "3");
    } else if (client->state == OPENING && text[0] == '0') {
        client->state = JOINING;
        put_text(client, "40");
    } else if (client->state == JOINING && begins(text, size, "40")) {
        join(client);
        if (!options.hold) subscribe(client);
    } else if (begins(text, size, "42[\"subscribed\"")) {
        client->confirmed++;
        check_ready(client);
    } else if (begins(text, size, "42[\"recent_events\"")) {
        take_recent(client, text, size);
        check_ready(client);
    } else if (begins(text, size, "42[\"error\"") || begins(text, size, "44")) {
        fail(client, text, size);
    }
}

static void take_message(struct client *client, const char *text, size_t size, int64_t at_ns) {
    count.bytes += (long)size;
    if (options.plain)
        take_event(client, text, size, at_ns);
    else
        take_packet(client, text, size, at_ns);
}

static void take_frame(struct client *client, const struct frame *frame, unsigned char *payload, int64_t at_ns) {
    unsigned char out[COMMAND_ROOM];
    if (!frame->final || frame->opcode == OP_CONTINUE)
        fail_text(client, "the server sent a message in fragments");
    else if (frame->opcode == OP_TEXT)
        take_message(client, (char *)payload, frame->size, at_ns);
    else if (frame->opcode == OP_CLOSE)
        fail(client, "closed by the server", 20);
    else if (frame->opcode == OP_PING && frame->size < 126)
        put(client, out, frame_write(out, OP_PONG, payload, frame->size));
}

/* Takes the answer to the handshake. Returns its size, 0 while it is not whole. */
static size_t take_answer(struct client *client, unsigned char *data, size_t size) {
    unsigned char *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    if (memcmp(data + 9, "101", 3) != 0) {
        fail(client, (char *)data, (size_t)(end - data));
        return 0;
    }
    client->state = OPENING;
    if (options.plain) {
        join(client);
        client->state = SUBSCRIBING;
        client->confirmed = options.each * options.kind_count;
        check_ready(client);
    }
    return (size_t)(end + 4 - data);
}

/* Takes all whole messages. Returns how many bytes they had. */
static size_t take_all(struct client *client, unsigned char *data, size_t size, int64_t at_ns) {
    size_t used = client->state == UPGRADING ? take_answer(client, data, size) : 0;
    struct frame frame;
    while (client->state > UPGRADING && client->state != FAILED && frame_read(data + used, size - used, &frame)) {
        if (frame.head + frame.size > MAX_FRAME) die("a message of %lu bytes is more than this program takes", frame.size);
        if (size - used < frame.head + frame.size) break;
        take_frame(client, &frame, data + used + frame.head, at_ns);
        used += frame.head + frame.size;
    }
    return used;
}

static void keep(struct client *client, const unsigned char *data, size_t size) {
    free(client->rest);
    client->rest = NULL;
    client->rest_size = size;
    if (size == 0) return;
    client->rest = malloc(size);
    if (client->rest == NULL) die("out of memory");
    memcpy(client->rest, data, size);
}

static void receive(struct client *client) {
    size_t size = client->rest_size;
    if (size) memcpy(inbox, client->rest, size);
    ssize_t got = read(client->fd, inbox + size, sizeof inbox - size);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        fail_text(client, got == 0 ? "the server ended the connection" : strerror(errno));
        return;
    }
    count.reads++;
    size += (size_t)got;
    size_t used = take_all(client, inbox, size, now_ns());
    if (client->state != FAILED && (size != used || client->rest != NULL)) keep(client, inbox + used, size - used);
}

/* -- connections ------------------------------------------------------------------------------------------------------- */

static void watch(struct client *client, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(poller, operation, client->fd, &event) != 0) die("epoll: %s", strerror(errno));
}

static struct sockaddr_in loopback(int host, int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(0x7f000000u + (uint32_t)host)};
}

static void open_client(struct client *client) {
    int yes = 1, index = (int)(client - clients);
    struct sockaddr_in from = loopback(1 + index % ADDRESSES, 0), to = loopback(1, options.port);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) die("socket: %s", strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(client->fd, (struct sockaddr *)&from, sizeof from) != 0) die("bind: %s", strerror(errno));
    client->state = CONNECTING;
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
        die("connect to port %d: %s", options.port, strerror(errno));
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
    progress.opened++;
}

/* The connection stands, or has failed: say hello. */
static void greet(struct client *client) {
    int problem = 0;
    socklen_t size = sizeof problem;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem) {
        fail_text(client, strerror(problem));
        return;
    }
    char path[COMMAND_ROOM], out[2 * COMMAND_ROOM];
    int topic = (int)((client - clients) * (long)options.each % options.topics);
    /* The path is an option of whoever starts this program. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(path, sizeof path, options.path, topic);
#pragma GCC diagnostic pop
    client->state = UPGRADING;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
    put(client, out, (size_t)handshake_write(out, sizeof out, path, options.port));
}

static void open_clients(void) {
    int underway = progress.opened - progress.failed - (options.hold ? progress.joined : progress.ready);
    while (progress.opened < options.clients && (options.window == 0 || underway++ < options.window))
        open_client(&clients[progress.opened]);
}

/* -- the program ------------------------------------------------------------------------------------------------------- */

static void obey(const char *line) {
    if (strcmp(line, "subscribe") == 0) {
        subscribe_all();
    } else if (strcmp(line, "report") == 0) {
        say_counted();
    } else if (begins(line, strlen(line), "count ")) {
        begin_count(strtol(line + 6, NULL, 10));
    } else {
        die("unknown command: %s", line);
    }
}

static void read_commands(void) {
    static char pending[COMMAND_ROOM];
    static size_t size;
    ssize_t got = read(STDIN_FILENO, pending + size, sizeof pending - 1 - size);
    if (got <= 0) exit(0);
    size += (size_t)got;
    pending[size] = 0;
    char *line = pending, *end;
    while ((end = strchr(line, '\n')) != NULL) {
        *end = 0;
        obey(line);
        line = end + 1;
    }
    size -= (size_t)(line - pending);
    memmove(pending, line, size);
}

static void run(void) {
    struct epoll_event events[MAX_EVENTS], input = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) die("standard input must be a pipe: %s", strerror(errno));
    progress.started_ns = now_ns();
    for (;;) {
        open_clients();
        int happened = epoll_wait(poller, events, MAX_EVENTS, -1);
        for (int index = 0; index < happened; index++) {
            struct client *client = events[index].data.ptr;
            if (client == NULL)
                read_commands();
            else if (client->state == CONNECTING)
                greet(client);
            else if (client->state != FAILED)
                receive(client);
        }
        check_phases();
    }
}

static void read_kinds(char *list) {
    options.kind_count = 0;
    for (char *kind = strtok(list, ","); kind != NULL && options.kind_count < 3; kind = strtok(NULL, ","))
        options.kinds[options.kind_count++] = kind;
}

static void read_options(int argc, char **argv) {
    static const struct option names[] = {
        {"clients", required_argument, 0, 'c'}, {"port", required_argument, 0, 'p'},   {"topics", required_argument, 0, 't'},
        {"each", required_argument, 0, 'e'},    {"kinds", required_argument, 0, 'k'},  {"window", required_argument, 0, 'w'},
        {"replay", required_argument, 0, 'r'},  {"plain", required_argument, 0, 'P'},  {"hold", no_argument, 0, 'h'},
        {0, 0, 0, 0},
    };
    static char workflow[] = "workflow";
    options.kinds[0] = workflow;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) switch (option) {
        case 'c': options.clients = atoi(optarg); break;
        case 'p': options.port = atoi(optarg); break;
        case 't': options.topics = atoi(optarg); break;
        case 'e': options.each = atoi(optarg); break;
        case 'k': read_kinds(optarg); break;
        case 'w': options.window = atoi(optarg); break;
        case 'r': options.replay = atol(optarg); break;
        case 'P': options.plain = 1, options.path = optarg; break;
        case 'h': options.hold = 1; break;
        default: die("usage: wsload --port N [--clients N] [--topics N] [--each N] [--kinds workflow,bot,strategy] "
                     "[--window N] [--hold] [--replay N] [--plain PATH]");
        }
    if (options.clients < 1 || options.topics < 1 || options.each < 1 || options.each > options.topics || !options.port)
        die("--port is needed; --clients, --topics and --each are at least 1; --each is at most --topics");
}

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if ((rlim_t)options.clients + 16 > limit.rlim_cur)
        die("%d clients need more open files than the %lu that this user may have (ulimit -Hn)", options.clients,
            (unsigned long)limit.rlim_cur);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    raise_file_limit();
    poller = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)options.clients, sizeof *clients);
    int32_t *next = calloc((size_t)options.clients * (size_t)options.each, sizeof *next);
    if (clients == NULL || next == NULL) die("out of memory");
    for (int index = 0; index < options.clients; index++) clients[index].next = next + (size_t)index * (size_t)options.each;
    run();
}
