/* tests/unit/codec_reference.h - framings once more, slowly and without memory.
 *
 * Looks at all the bytes each time and asks the plain question: which message can these bytes,
 * or any that continue them, be? So it knows an error at the first byte at which it is certain.
 * Reads the parameters of a codec, and shares no code with it but a custom decode function. */
#ifndef NEAP_TESTS_CODEC_REFERENCE_H
#define NEAP_TESTS_CODEC_REFERENCE_H

#include "codec/codec.h"

/* As codec_decode, for every framing but "raw". */
int reference_decode(const struct codec *codec, const char *bytes, size_t len,
                     size_t max_message, struct codec_frame *frame);

#endif
