/*
 * intern.c
 *	  Byte strings and their numbers: equal strings, equal numbers.
 */
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define BLOCK	(1 << 20)

static uint8_t *block;
static size_t block_left;

uint64_t
hash_bytes(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint64_t	h = UINT64_C(0x9E3779B97F4A7C15) ^ size;
	uint64_t	word;

	for (; size >= 8; at += 8, size -= 8)
	{
		memcpy(&word, at, 8);
		h = (h ^ word) * UINT64_C(0xBF58476D1CE4E5B9);
		h ^= h >> 29;
	}
	word = 0;
	memcpy(&word, at, size);
	h = (h ^ word) * UINT64_C(0x94D049BB133111EB);
	return h ^ h >> 32;
}

static uint8_t *
keep(const void *bytes, size_t size)
{
	uint8_t    *at;

	if (block_left < size + 2)
	{
		block = malloc(BLOCK);
		block_left = BLOCK;
	}
	if (block == NULL || size + 2 > BLOCK)
		abort();
	at = block;
	block += size + 2;
	block_left -= size + 2;
	at[0] = (uint8_t) (size & 255);
	at[1] = (uint8_t) (size >> 8);
	memcpy(at + 2, bytes, size);
	return at;
}

static void
grow(Table *table)
{
	uint32_t	size = table->size == 0 ? 1024 : 2 * table->size;

	free(table->slots);
	table->slots = calloc(size, sizeof(uint32_t));
	table->items = realloc(table->items, size * sizeof(uint8_t *));
	if (table->slots == NULL || table->items == NULL)
		abort();
	table->size = size;
	if (table->count == 0)
		table->count = 1;
	for (uint32_t i = 1; i < table->count; i++)
	{
		const uint8_t *item = table->items[i];
		uint64_t	slot = hash_bytes(item + 2, item[0] | (size_t) item[1] << 8);

		while (table->slots[slot & (size - 1)] != 0)
			slot++;
		table->slots[slot & (size - 1)] = i;
	}
}

uint32_t
intern(Table *table, const void *bytes, size_t size)
{
	uint64_t	slot = hash_bytes(bytes, size);

	if (2 * table->count >= table->size)
		grow(table);
	for (;; slot++)
	{
		uint32_t	number = table->slots[slot & (table->size - 1)];
		const uint8_t *item;

		if (number == 0)
			break;
		item = table->items[number];
		if ((item[0] | (size_t) item[1] << 8) == size && memcmp(item + 2, bytes, size) == 0)
			return number;
	}
	table->slots[slot & (table->size - 1)] = table->count;
	table->items[table->count] = keep(bytes, size);
	table->bytes += size + 14;
	return table->count++;
}

const void *
interned(const Table *table, uint32_t number, size_t *size)
{
	const uint8_t *item;

	if (number == 0 || number >= table->count)
		abort();
	item = table->items[number];
	*size = item[0] | (size_t) item[1] << 8;
	return item + 2;
}
