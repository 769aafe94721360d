/*
 * fuzz_witness.c
 *	  Fuzz target: witness.conf (src/witness/config.c).
 */
#include "witness.h"

#include "fuzz.h"

static const char *conf;		/* what witness.conf holds */
static WitnessSettings settings;
static bool configured;

/* whole_files.c */
extern char *file_read(const char *path);

char *
file_read(const char *path)
{
	fuzz_require(strcmp(path, WITNESS_CONF) == 0);
	return pg_strdup(conf);
}

static void
configure(void *arg)
{
	(void) arg;
	configured = witness_configure(&settings, NULL, 0);
}

static void
check_settings(void)
{
	size_t		length = strnlen(settings.name, sizeof(settings.name));

	fuzz_require(length > 0 && length < sizeof(settings.name));
	fuzz_require(strspn(settings.name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length);
	length = strnlen(settings.host, sizeof(settings.host));
	fuzz_require(length > 0 && length < sizeof(settings.host));
	fuzz_require(settings.port >= 1 && settings.port <= 65535);
	fuzz_require(settings.lease_ms >= 100 && settings.lease_ms <= 600000);
	fuzz_require(memchr(settings.secret_file, '\0', sizeof(settings.secret_file)) != NULL);
}

/* As a person would write down what was understood. */
static void
check_round_trip(void)
{
	WitnessSettings first = settings;

	if (strpbrk(first.secret_file, "'\n") != NULL || strpbrk(first.host, "'#[] \n\t\r\f\v") != NULL)
		return;
	conf = psprintf("name = '%s'\naddress = '[%s]:%d' # where\nsecret_file='%s'\n"
					"lease_duration = %dms\ndeath_proof = %s",
					first.name, first.host, first.port, first.secret_file, first.lease_ms,
					first.death_proof ? "on" : "off");
	fuzz_require(fuzz_survives(configure, NULL) && configured);
	fuzz_require(strcmp(first.name, settings.name) == 0);
	fuzz_require(strcmp(first.host, settings.host) == 0);
	fuzz_require(strcmp(first.secret_file, settings.secret_file) == 0);
	fuzz_require(first.port == settings.port);
	fuzz_require(first.lease_ms == settings.lease_ms);
	fuzz_require(first.death_proof == settings.death_proof);
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	bool		taken;

	conf = pnstrdup((const char *) bytes, size);
	taken = fuzz_survives(configure, NULL) && configured;
	if (taken)
	{
		check_settings();
		check_round_trip();
	}
	fuzz_release();
	return taken;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		"name=w\naddress=h:1\n",
		("# of the witness\nname = 'w-1'\n\naddress = '[::1]:7432' # here\nsecret_file = /etc/secret\n"
		"lease_duration = 2s\ndeath_proof = off\n"),
		"name=w\naddress=host\nlease_duration=500\ndeath_proof=on\n"
	};

	if (number >= (int) lengthof(texts))
		return 0;
	memcpy(bytes, texts[number], strlen(texts[number]));
	return strlen(texts[number]);
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		"name=w\n", "address=h:1\n", "name=W\naddress=h:1\n", "name=w\naddress=h:65536\n",
		"name=w\naddress=h:1\nlease_duration=601s\n", "name=w\naddress=h:1\nlease_duration=99\n",
		"name=w\naddress=h:1\ndeath_proof=yes\n", "name=w\naddress=h:1\nother=1\n",
		"name=w\naddress=h:1\nnothing\n"
	};

	if (number >= (int) lengthof(texts))
		return 0;
	memcpy(bytes, texts[number], strlen(texts[number]));
	return strlen(texts[number]);
}
