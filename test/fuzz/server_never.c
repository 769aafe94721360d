/*
 * server_never.c
 *	  Functions of the server that the source files under test refer to, but no decoder calls.
 *
 * Without their headers: the linker wants names only.
 */
extern _Noreturn void fuzz_failed(const char *condition, const char *file, int line);

#define NEVER(name) \
	extern void name(void); \
	void name(void) { fuzz_failed("a decoder does not call " #name, __FILE__, __LINE__); }

NEVER(AllocateDir)
NEVER(DataChecksumsEnabled)
NEVER(DefineCustomBoolVariable)
NEVER(DefineCustomIntVariable)
NEVER(DefineCustomStringVariable)
NEVER(FreeDir)
NEVER(GetConfigOption)
NEVER(GetCurrentTimestamp)
NEVER(GetSystemIdentifier)
NEVER(InitMaterializedSRF)
NEVER(LWLockAcquire)
NEVER(LWLockRelease)
NEVER(MarkGUCPrefixReserved)
NEVER(ProcessInterrupts)
NEVER(ReadDir)
NEVER(SetConfigOption)
NEVER(before_shmem_exit)
NEVER(construct_array)
NEVER(cstring_to_text)
NEVER(errcode)
NEVER(errcode_for_file_access)
NEVER(errdetail)
NEVER(errfinish)
NEVER(errhint)
NEVER(errmsg)
NEVER(format_elog_string)
NEVER(hex_encode)
NEVER(pg_detoast_datum_packed)
NEVER(pgq_file_remove)
NEVER(pgq_frame_start)
NEVER(pgq_program_run)
NEVER(pgq_report)
NEVER(pgq_slot_name)
NEVER(pgq_story_name)
NEVER(pgq_story_tell)
NEVER(pgq_stream_mac)
NEVER(pgq_stream_verify)
NEVER(pre_format_elog_string)
NEVER(s_lock)
NEVER(text_to_cstring)
NEVER(timestamp2tm)
NEVER(timestamptz_to_time_t)
NEVER(tuplestore_putvalues)
