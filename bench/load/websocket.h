/* As much of RFC 6455 as a client needs whose server sends whole messages. */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum opcode { OP_CONTINUE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

struct frame {
    enum opcode opcode;
    int final;
    size_t head;    /* bytes of the header */
    uint64_t size;  /* bytes of the payload */
};

/* Reads the header of the frame at `data`. Returns 0 while less than a whole header is there. */
static inline int frame_read(const unsigned char *data, size_t available, struct frame *frame) {
    if (available < 2) return 0;
    unsigned extra = (data[1] & 127) == 126 ? 2 : (data[1] & 127) == 127 ? 8 : 0;
    if (available < 2 + extra) return 0;
    frame->final = data[0] >> 7;
    frame->opcode = data[0] & 15;
    frame->head = 2 + extra;
    frame->size = extra ? 0 : data[1] & 127;
    for (unsigned index = 0; index < extra; index++) frame->size = frame->size << 8 | data[2 + index];
    return 1;
}

/* Writes a whole masked frame to `out`, which has room for the payload and 8 more bytes; the payload is shorter than 64 KiB.
 * The mask is zero: it is valid, and costs nothing. Returns the frame's size. */
static inline size_t frame_write(unsigned char *out, enum opcode opcode, const void *payload, size_t size) {
    size_t head = 2;
    out[0] = (unsigned char)(0x80 | opcode);
    if (size < 126) {
        out[1] = (unsigned char)(0x80 | size);
    } else {
        out[1] = 0x80 | 126;
        out[2] = (unsigned char)(size >> 8);
        out[3] = (unsigned char)size;
        head = 4;
    }
    memset(out + head, 0, 4);
    memcpy(out + head + 4, payload, size);
    return head + 4 + size;
}

static inline int handshake_write(char *out, size_t room, const char *path, int port) {
    return snprintf(out, room,
                    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                    path, port);
}

#endif
