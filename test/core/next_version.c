/*
 * next_version.c
 *	  The codec of the made-up next minor version, beside the one of this version.
 */
#define QUORUM_NEXT_MINOR

#define quorum_message_encode next_message_encode
#define quorum_message_decode next_message_decode
#define quorum_message_other_major next_message_other_major
#define quorum_hard_state_encode next_hard_state_encode
#define quorum_hard_state_decode next_hard_state_decode

#include "../../src/core/quorum_message.c"
