#include "tests/fuzz/edits.h"

#include <stdlib.h>
#include <unistd.h>

static const char *directory;

static void remove_directory(void)
{
    struct image nothing;
    image_init(&nothing);
    image_store(&nothing, directory);
    image_release(&nothing);
    (void)rmdir(directory);
}

void edits_directory(char *template)
{
    CHECK(mkdtemp(template) != NULL);
    directory = template;
    (void)atexit(remove_directory);
}

static struct trace_node *file_at(struct image *image, uint32_t place)
{
    for (uint32_t tried = 0; tried < image->entry_count; tried++) {
        uint32_t entry = (place + tried) % image->entry_count;
        struct trace_node *node = &image->node[image->entry[entry].node];
        if (!node->is_dir && node->size > 0) {
            return node;
        }
    }
    return NULL;
}

void edits_apply(struct image *image, const uint8_t *data, size_t size)
{
    while (size >= 5) {
        struct trace_node *node = file_at(image, data[0]);
        if (node == NULL) {
            return;
        }
        uint64_t at = (uint64_t)(data[1] | data[2] << 8 | data[3] << 16) % node->size;
        size_t length = data[4];
        data += 5;
        size -= 5;
        if (length == 255) {
            node->size = at;
            continue;
        }
        length %= 17;
        for (size_t i = 0; i < length && i < size && at + i < node->size; i++) {
            node->data[at + i] = data[i];
        }
        data += length < size ? length : size;
        size -= length < size ? length : size;
    }
}
