/*
 * notify.h
 *	  What systemd is told beside what PostgreSQL tells it.
 */
#ifndef PGQ_NOTIFY_H
#define PGQ_NOTIFY_H

/* In the postmaster.  Nothing is said while we stop in order to start again ... */
extern void pgq_notify_mute(void);

/* ... and the next life is told where to speak. */
extern void pgq_notify_unmute(void);

/*
 * A step that may take longer than a service may take to start; call it often.  The first
 * call names the step for systemctl status, until pgq_notify_done().
 */
extern void pgq_notify_busy(void);
extern void pgq_notify_done(void);

#endif							/* PGQ_NOTIFY_H */
