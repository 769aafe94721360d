/*
 * logend.h
 *	  At a promotion: is the log as long as this node has said?
 */
#ifndef PGQ_LOGEND_H
#define PGQ_LOGEND_H

#include "postgres.h"

/*
 * R13: in the startup process, when recovery has ended: did it read all that this node has
 * acknowledged since it booted, but for a record of which the end never came?  Logs what is
 * wrong.  Raises an error only when memory runs out, which ends the promotion, too.
 */
extern bool pgq_logend_reached(void);

/*
 * ... it did not: wait until that is durable, so that the next boot knows (S8).  False when it
 * is not within a minute.
 */
extern bool pgq_logend_keep(void);

#endif							/* PGQ_LOGEND_H */
