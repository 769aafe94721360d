/*
 * quorum_walpos.c
 *	  Comparing ends of logs: timeline first, then position.
 */
#include "quorum_walpos.h"

int
quorum_walpos_compare(QuorumWalPos a, QuorumWalPos b)
{
	if (a.tli != b.tli)
		return a.tli < b.tli ? -1 : 1;
	if (a.lsn != b.lsn)
		return a.lsn < b.lsn ? -1 : 1;
	return 0;
}

bool
quorum_walpos_known(QuorumWalPos pos)
{
	return pos.tli != 0 && pos.lsn != 0;
}
