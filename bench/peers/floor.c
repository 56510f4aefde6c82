/* What the system calls alone cost: takes WebSockets, and sends each event of the Redis channel `workflow_events` to all of
 * them, one send() per client of a frame that is built once. Nothing else: no topics, no backlog, no control frames.
 *   floor PORT REDIS_PORT */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FILES = 20000, BACKLOG = 4096, EVENTS = 256, ROOM = 1 << 20, HEAD = 10 };

/* The load client always sends the key of RFC 6455's example; this is the answer to it. */
static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char SUBSCRIBE[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$15\r\nworkflow_events\r\n";

static int clients[MAX_FILES];
static int client_count;
static char bus[ROOM];
static size_t bus_size;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (%s)\n", strerror(errno));
    exit(1);
}

static struct sockaddr_in local(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int listen_on(int port) {
    struct sockaddr_in address = local(port);
    int on = 1, file = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(file, (struct sockaddr *)&address, sizeof address) || listen(file, BACKLOG)) die("cannot listen on %d", port);
    return file;
}

static int subscribe_at(int port) {
    struct sockaddr_in address = local(port);
    int file = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(file, (struct sockaddr *)&address, sizeof address)) die("cannot connect to Redis at %d", port);
    if (send(file, SUBSCRIBE, sizeof SUBSCRIBE - 1, 0) < 0) die("cannot subscribe");
    return file;
}

static void watch(int poll, int file) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = file};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, file, &event)) die("cannot watch a socket");
}

static void take_in(int poll, int listener) {
    int on = 1, file;
    while ((file = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (file >= MAX_FILES) die("more than %d clients", MAX_FILES);
        setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(poll, file);
    }
}

static int is_client(int file) {
    for (int index = 0; index < client_count; index++)
        if (clients[index] == file) return 1;
    return 0;
}

/* What comes first is the handshake, in one piece; what comes after it is of no interest. */
static void read_client(int file) {
    char request[4096];
    ssize_t size = recv(file, request, sizeof request, 0);
    if (size <= 0) {
        for (int index = 0; index < client_count; index++)
            if (clients[index] == file) clients[index] = clients[--client_count];
        close(file);
    } else if (!is_client(file)) {
        if (send(file, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) != sizeof ANSWER - 1) die("cannot answer a handshake");
        clients[client_count++] = file;
    }
}

static size_t frame_head(unsigned char *head, size_t size) {
    head[0] = 0x81;
    if (size < 126) return head[1] = (unsigned char)size, 2;
    if (size > 0xffff) {
        head[1] = 127;
        for (int index = 0; index < 8; index++) head[2 + index] = (unsigned char)((uint64_t)size >> (56 - 8 * index));
        return 10;
    }
    head[1] = 126;
    head[2] = (unsigned char)(size >> 8);
    head[3] = (unsigned char)size;
    return 4;
}

static void send_to_all(const char *event, size_t size) {
    static unsigned char frame[HEAD + ROOM];
    size_t head = frame_head(frame, size);
    memcpy(frame + head, event, size);
    for (int index = 0; index < client_count; index++)
        if (send(clients[index], frame, head + size, MSG_NOSIGNAL) != (ssize_t)(head + size)) die("a client does not read");
}

/* The next part of a reply: a number, or a text that begins at `*text`. Returns where it ends, NULL while it is not whole. */
static const char *part(const char *from, const char *end, const char **text, size_t *size) {
    const char *line = from < end ? memchr(from, '\n', (size_t)(end - from)) : NULL;
    if (line == NULL) return NULL;
    *text = line + 1;
    *size = from[0] == '$' ? strtoul(from + 1, NULL, 10) : 0;
    if (from[0] != '$') return line + 1;
    return (size_t)(end - *text) < *size + 2 ? NULL : *text + *size + 2;
}

/* Takes one whole reply of three parts. Returns its size, 0 while it is not whole. */
static size_t take_reply(const char *from, const char *end) {
    const char *text[4], *at = from;
    size_t size[4];
    for (int index = 0; index < 4; index++)
        if ((at = part(at, end, &text[index], &size[index])) == NULL) return 0;
    if (size[1] == 7 && memcmp(text[1], "message", 7) == 0) send_to_all(text[3], size[3]);
    return (size_t)(at - from);
}

static void read_bus(int file) {
    ssize_t size = recv(file, bus + bus_size, sizeof bus - bus_size, 0);
    if (size <= 0) die("Redis is gone");
    bus_size += (size_t)size;
    size_t used = 0, taken;
    while ((taken = take_reply(bus + used, bus + bus_size)) > 0) used += taken;
    bus_size -= used;
    memmove(bus, bus + used, bus_size);
}

int main(int count, char **arguments) {
    if (count != 3) die("usage: floor PORT REDIS_PORT");
    int poll = epoll_create1(0), listener = listen_on(atoi(arguments[1])), redis = subscribe_at(atoi(arguments[2]));
    watch(poll, listener);
    watch(poll, redis);
    for (;;) {
        struct epoll_event ready[EVENTS];
        int found = epoll_wait(poll, ready, EVENTS, -1);
        for (int index = 0; index < found; index++) {
            int file = ready[index].data.fd;
            if (file == listener)
                take_in(poll, listener);
            else if (file == redis)
                read_bus(file);
            else
                read_client(file);
        }
    }
}
