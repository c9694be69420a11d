/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml 0.2.5 takes time that grows with the square of the nesting, and its
 * document API expands what it is told to. So only its events are used, and
 * every limit is looked at with each event: a bomb ends after the first few
 * thousand of them. What libyaml itself does that is not linear is kept from
 * it: %TAG directives (each is compared with all before) are refused.
 */
#include "host-agent/manifest/tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/base/cleanup.h"
#include "host-agent/manifest/text.h"

struct anchor {
	const char *name;
	size_t len;
	struct node *node;
};

/* A collection that is being read. */
struct frame {
	struct node *node;
	size_t first; /* of its children in `pending` */
};

struct builder {
	yaml_parser_t *parser;
	struct arena *arena;
	struct diags *d;
	struct frame frames[HYB_MANIFEST_DEPTH_MAX];
	size_t depth;
	struct node **pending; /* children of all open frames */
	size_t n_pending, cap_pending;
	struct anchor *anchors; /* HYB_MANIFEST_ANCHORS_MAX */
	size_t n_anchors;
	size_t n_nodes; /* of the whole file, expanded */
	const struct node *root;
	struct documents *ret;
	size_t cap_roots;
	bool faulty; /* errors after which reading went on */
};

static uint32_t mark_line(const yaml_mark_t *m)
{
	return (uint32_t)m->line + 1;
}

static uint32_t mark_col(const yaml_mark_t *m)
{
	return (uint32_t)m->column + 1;
}

#define FAIL(b, mark, ...)                                               \
	(diag_add((b)->d, mark_line(mark), mark_col(mark), __VA_ARGS__), \
	 -EINVAL)

bool node_is_null(const struct node *n)
{
	static const char *const names[] = {"", "~", "null", "Null", "NULL"};
	size_t i;

	if (n->kind != NODE_SCALAR || !n->plain)
		return false;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(n->text, names[i]) == 0)
			return true;
	return false;
}

const struct node *node_get(const struct node *map, const char *key)
{
	size_t i;

	for (i = 0; map->kind == NODE_MAP && i < map->n; i++)
		if (strcmp(map->pairs[i].key->text, key) == 0)
			return map->pairs[i].value;
	return NULL;
}

static uint32_t hash_text(const char *s, size_t len)
{
	uint32_t h = 2166136261u; /* FNV-1a */
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ (unsigned char)s[i]) * 16777619u;
	return h;
}

/* The keys of one map while it is put together: open addressing, so that a
 * map of 20,000 keys costs no more than it should. */
struct key_set {
	const struct node **slots;
	size_t mask;
};

static int key_set_init(struct key_set *set, size_t n)
{
	size_t size = 16;

	while (size < 2 * n)
		size *= 2;
	set->slots = calloc(size, sizeof(*set->slots));
	set->mask = size - 1;
	return set->slots ? 0 : -ENOMEM;
}

/* The key of that text which is there already, or NULL and it is there now. */
static const struct node *key_set_add(struct key_set *set,
				      const struct node *key)
{
	size_t i = hash_text(key->text, key->len) & set->mask;
	const struct node *at;

	for (; (at = set->slots[i]); i = (i + 1) & set->mask)
		if (at->len == key->len &&
		    memcmp(at->text, key->text, key->len) == 0)
			return at;
	set->slots[i] = key;
	return NULL;
}

static bool is_merge_key(const struct node *key)
{
	return key->plain && strcmp(key->text, "<<") == 0;
}

/* Pairs that `<<: value` may add at most; -EINVAL when it cannot be merged. */
static int merge_count(struct builder *b, const struct node *value, size_t *n)
{
	size_t i;

	if (value->kind == NODE_MAP) {
		*n += value->n;
		return 0;
	}
	for (i = 0; value->kind == NODE_LIST && i < value->n; i++) {
		if (value->items[i]->kind != NODE_MAP)
			break;
		*n += value->items[i]->n;
	}
	if (value->kind == NODE_LIST && i == value->n)
		return 0;
	diag_add(b->d, value->line, value->col,
		 "'<<' takes a map or a list of maps");
	return -EINVAL;
}

static void merge_add(struct key_set *set, const struct node *from,
		      struct pair *pairs, size_t *n)
{
	size_t i;

	for (i = 0; i < from->n; i++)
		if (!key_set_add(set, from->pairs[i].key))
			pairs[(*n)++] = from->pairs[i];
}

/* Is key i of the flat list a usable one? */
static bool map_key_is_ok(struct builder *b, const struct node *key)
{
	const char *what = key->kind == NODE_LIST  ? "a list"
			   : key->kind == NODE_MAP ? "a map"
						   : NULL;

	if (what)
		diag_add(b->d, key->line, key->col,
			 "a key must be text, not %s", what);
	else if (key->len == 0)
		diag_add(b->d, key->line, key->col, "a key is empty");
	else
		return true;
	b->faulty = true;
	return false;
}

/*
 * The pairs of a map from its children (key, value, key, value, ...). The
 * map's own keys come first and win over merged ones; of several merged maps
 * the earlier wins.
 */
static int map_build(struct builder *b, struct node *map,
		     struct node *const *flat, size_t n_flat)
{
	_cleanup_free_ const struct node **slots = NULL;
	const struct node *merge = NULL, *before;
	struct key_set set;
	size_t i, n = 0, most = n_flat / 2;
	struct pair *pairs;

	for (i = 0; i + 1 < n_flat; i += 2) {
		if (!is_merge_key(flat[i]))
			continue;
		merge = flat[i + 1];
		if (merge_count(b, merge, &most) < 0) {
			b->faulty = true;
			merge = NULL;
		}
	}
	pairs = arena_alloc(b->arena, most ? most : 1, sizeof(*pairs));
	if (!pairs || key_set_init(&set, most + 1) < 0)
		return -ENOMEM;
	slots = set.slots;
	for (i = 0; i + 1 < n_flat; i += 2) {
		if (!map_key_is_ok(b, flat[i]))
			continue;
		before = key_set_add(&set, flat[i]);
		if (before) {
			diag_add(b->d, flat[i]->line, flat[i]->col,
				 "the key %s is there already, in line %u",
				 diag_quote(b->d, flat[i]->text, flat[i]->len),
				 before->line);
			b->faulty = true;
		} else if (!is_merge_key(flat[i])) {
			pairs[n].key = flat[i];
			pairs[n++].value = flat[i + 1];
		}
	}
	if (merge && merge->kind == NODE_MAP)
		merge_add(&set, merge, pairs, &n);
	for (i = 0; merge && merge->kind == NODE_LIST && i < merge->n; i++)
		merge_add(&set, merge->items[i], pairs, &n);
	map->pairs = pairs;
	map->n = n;
	return 0;
}

static int list_build(struct builder *b, struct node *list,
		      struct node *const *flat, size_t n)
{
	const struct node **items =
		arena_alloc(b->arena, n ? n : 1, sizeof(*items));
	size_t i;

	if (!items)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		items[i] = flat[i];
	list->items = items;
	list->n = n;
	return 0;
}

/* Counts nodes; the limit holds for what aliases stand for, too. */
static int count_nodes(struct builder *b, const yaml_mark_t *at, size_t n)
{
	b->n_nodes += n;
	if (b->n_nodes > HYB_MANIFEST_NODES_MAX)
		return FAIL(b, at,
			    "more than %d values, counting what aliases "
			    "stand for",
			    HYB_MANIFEST_NODES_MAX);
	return 0;
}

/* A node is complete: it goes to the collection around it. */
static int node_deliver(struct builder *b, struct node *n)
{
	struct node **grown;
	size_t cap;

	if (b->depth == 0) {
		b->root = n;
		return 0;
	}
	if (b->n_pending == b->cap_pending) {
		cap = b->cap_pending * 2;
		grown = reallocarray(b->pending, cap, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		b->pending = grown;
		b->cap_pending = cap;
	}
	b->pending[b->n_pending++] = n;
	return 0;
}

static struct anchor *anchor_find(struct builder *b, const char *name)
{
	size_t i, len = strlen(name);

	for (i = 0; i < b->n_anchors; i++)
		if (b->anchors[i].len == len &&
		    memcmp(b->anchors[i].name, name, len) == 0)
			return &b->anchors[i];
	return NULL;
}

static int anchor_set(struct builder *b, const yaml_mark_t *at,
		      const yaml_char_t *name, struct node *n)
{
	struct anchor *a;

	if (!name)
		return 0;
	a = anchor_find(b, (const char *)name);
	if (!a) {
		if (b->n_anchors == HYB_MANIFEST_ANCHORS_MAX)
			return FAIL(b, at, "more than %d anchors",
				    HYB_MANIFEST_ANCHORS_MAX);
		a = &b->anchors[b->n_anchors];
		a->name = arena_strdup(b->arena, (const char *)name);
		if (!a->name)
			return -ENOMEM;
		a->len = strlen(a->name);
		b->n_anchors++;
	}
	a->node = n;
	return 0;
}

/* Only tags that say what a node is anyhow, and !!str. */
static bool tag_is_ok(struct builder *b, const yaml_event_t *ev,
		      const yaml_char_t *tag, const char *own)
{
	const char *s = (const char *)tag;

	if (!s || strcmp(s, "!") == 0 || strcmp(s, own) == 0)
		return true;
	diag_add(b->d, mark_line(&ev->start_mark), mark_col(&ev->start_mark),
		 "the tag %s is not supported", diag_quote(b->d, s, strlen(s)));
	b->faulty = true;
	return false;
}

static struct node *node_new(struct builder *b, const yaml_event_t *ev,
			     enum node_kind kind)
{
	struct node *n = arena_alloc(b->arena, 1, sizeof(*n));

	if (n) {
		n->kind = kind;
		n->line = mark_line(&ev->start_mark);
		n->col = mark_col(&ev->start_mark);
		n->size = 1;
	}
	return n;
}

static int on_scalar(struct builder *b, const yaml_event_t *ev)
{
	const char *value = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;
	struct node *n;
	int r;

	r = count_nodes(b, &ev->start_mark, 1);
	if (r < 0)
		return r;
	n = node_new(b, ev, NODE_SCALAR);
	if (!n)
		return -ENOMEM;
	tag_is_ok(b, ev, ev->data.scalar.tag, YAML_STR_TAG);
	n->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		   !ev->data.scalar.tag;
	if (memchr(value, '\0', len)) {
		diag_add(b->d, n->line, n->col, "a NUL character in a value");
		b->faulty = true;
		len = strlen(value);
	}
	n->text = arena_strndup(b->arena, value, len);
	n->len = len;
	if (!n->text)
		return -ENOMEM;
	r = anchor_set(b, &ev->start_mark, ev->data.scalar.anchor, n);
	return r < 0 ? r : node_deliver(b, n);
}

static int on_alias(struct builder *b, const yaml_event_t *ev)
{
	const char *name = (const char *)ev->data.alias.anchor;
	const struct anchor *a = anchor_find(b, name);
	size_t i;
	int r;

	if (!a)
		return FAIL(b, &ev->start_mark, "there is no anchor %s",
			    diag_quote(b->d, name, strlen(name)));
	for (i = 0; i < b->depth; i++)
		if (b->frames[i].node == a->node)
			return FAIL(b, &ev->start_mark,
				    "the alias %s stands for something that "
				    "it is itself a part of",
				    diag_quote(b->d, name, strlen(name)));
	if (b->depth + a->node->height > HYB_MANIFEST_DEPTH_MAX)
		return FAIL(b, &ev->start_mark,
			    "nested more than %d deep, with what the alias "
			    "%s stands for",
			    HYB_MANIFEST_DEPTH_MAX,
			    diag_quote(b->d, name, strlen(name)));
	r = count_nodes(b, &ev->start_mark, a->node->size);
	return r < 0 ? r : node_deliver(b, a->node);
}

static int on_open(struct builder *b, const yaml_event_t *ev,
		   enum node_kind kind, const yaml_char_t *tag,
		   const yaml_char_t *anchor)
{
	struct node *n;
	int r;

	if (b->depth == HYB_MANIFEST_DEPTH_MAX)
		return FAIL(b, &ev->start_mark, "nested more than %d deep",
			    HYB_MANIFEST_DEPTH_MAX);
	r = count_nodes(b, &ev->start_mark, 1);
	if (r < 0)
		return r;
	n = node_new(b, ev, kind);
	if (!n)
		return -ENOMEM;
	tag_is_ok(b, ev, tag, kind == NODE_MAP ? YAML_MAP_TAG : YAML_SEQ_TAG);
	b->frames[b->depth].node = n;
	b->frames[b->depth].first = b->n_pending;
	b->depth++;
	return anchor_set(b, &ev->start_mark, anchor, n);
}

static int on_close(struct builder *b)
{
	const struct frame *f = &b->frames[--b->depth];
	struct node **flat = b->pending + f->first;
	size_t i, n = b->n_pending - f->first;
	struct node *node = f->node;
	int r;

	node->height = 1;
	for (i = 0; i < n; i++) {
		node->size += flat[i]->size;
		if (node->height <= flat[i]->height)
			node->height = flat[i]->height + 1;
	}
	r = node->kind == NODE_MAP ? map_build(b, node, flat, n)
				   : list_build(b, node, flat, n);
	if (r < 0)
		return r;
	b->n_pending = f->first;
	return node_deliver(b, node);
}

static int on_document(struct builder *b)
{
	const struct node **grown;
	size_t cap;

	b->n_anchors = 0;
	if (!b->root)
		return 0;
	if (b->ret->n == b->cap_roots) {
		cap = b->cap_roots ? b->cap_roots * 2 : 8;
		grown = arena_alloc(b->arena, cap, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		if (b->ret->n)
			memcpy(grown, b->ret->roots,
			       b->ret->n * sizeof(*grown));
		b->ret->roots = grown;
		b->cap_roots = cap;
	}
	b->ret->roots[b->ret->n++] = b->root;
	b->root = NULL;
	return 0;
}

static int on_event(struct builder *b, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(b, ev);
	case YAML_ALIAS_EVENT:
		return on_alias(b, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(b, ev, NODE_LIST, ev->data.sequence_start.tag,
			       ev->data.sequence_start.anchor);
	case YAML_MAPPING_START_EVENT:
		return on_open(b, ev, NODE_MAP, ev->data.mapping_start.tag,
			       ev->data.mapping_start.anchor);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_close(b);
	case YAML_DOCUMENT_END_EVENT:
		return on_document(b);
	default:
		return 0;
	}
}

/* Is a tab what the parser stumbled over: at the place, or in the white space
 * that the line begins with? */
static bool problem_is_tab(const char *text, size_t len, uint32_t line,
			   uint32_t col)
{
	uint32_t at_line = 1, at_col = 1, cp;
	bool indent = true;
	size_t n;

	for (; len > 0 && at_line <= line; text += n, len -= n) {
		n = text_break(text, len);
		if (n > 0) {
			at_line++;
			at_col = 1;
			indent = true;
			continue;
		}
		n = text_char(text, len, &cp);
		n = n ? n : 1;
		if (at_line == line && *text == '\t' &&
		    (indent || at_col == col))
			return true;
		indent = indent && *text == ' ';
		at_col++;
	}
	return false;
}

/* What libyaml found wrong, in our words where they are clearer. */
static int report_problem(struct builder *b, const char *text, size_t len)
{
	const yaml_parser_t *p = b->parser;
	uint32_t line = mark_line(&p->problem_mark);
	uint32_t col = mark_col(&p->problem_mark);
	const char *problem = p->problem ? p->problem : "cannot be read";

	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (problem_is_tab(text, len, line, col))
		diag_add(b->d, line, col,
			 "a tab cannot be used for indentation: use spaces");
	else if (p->context && p->context_mark.line + 1 != line)
		diag_add(b->d, line, col, "not YAML: %s (%s from line %u)",
			 problem, p->context, mark_line(&p->context_mark));
	else if (p->context)
		diag_add(b->d, line, col, "not YAML: %s (%s)", problem,
			 p->context);
	else
		diag_add(b->d, line, col, "not YAML: %s", problem);
	return -EINVAL;
}

static int read_events(struct builder *b, const char *text, size_t len)
{
	yaml_event_t ev;
	bool end = false;
	int r = 0;

	while (r == 0 && !end) {
		if (!yaml_parser_parse(b->parser, &ev))
			return report_problem(b, text, len);
		end = ev.type == YAML_STREAM_END_EVENT;
		r = on_event(b, &ev);
		yaml_event_delete(&ev);
	}
	return r;
}

/* What libyaml would find, or be slow at, before it sees it. */
static int scan_text(struct diags *d, const char *text, size_t len)
{
	uint32_t line = 1, col = 1, cp;
	size_t n;

	for (; len > 0; text += n, len -= n) {
		n = text_char(text, len, &cp);
		if (n == 0) {
			diag_add(d, line, col, "not UTF-8: byte \\x%02x",
				 (unsigned char)*text);
			return -EINVAL;
		}
		if (!text_is_allowed(cp)) {
			diag_add(d, line, col,
				 "the character U+%04X is not allowed", cp);
			return -EINVAL;
		}
		if (col == 1 && len >= 4 && memcmp(text, "%TAG", 4) == 0) {
			diag_add(d, line, col,
				 "%%TAG directives are not supported");
			return -EINVAL;
		}
		col++;
		if (text_break(text, len)) {
			n = text_break(text, len);
			line++;
			col = 1;
		}
	}
	return 0;
}

static int build(struct builder *b, const char *text, size_t len)
{
	yaml_parser_t parser;
	int r;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	/* No guessing: UTF-16 is not wanted here. */
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	b->parser = &parser;
	r = read_events(b, text, len);
	yaml_parser_delete(&parser);
	return r;
}

int tree_read(const char *text, size_t len, struct arena *arena,
	      struct diags *d, struct documents *ret)
{
	struct builder b = {.arena = arena, .d = d, .ret = ret};
	int r;

	ret->roots = NULL;
	ret->n = 0;
	r = scan_text(d, text, len);
	if (r < 0)
		return r;
	b.anchors = arena_alloc(arena, HYB_MANIFEST_ANCHORS_MAX,
				sizeof(*b.anchors));
	if (!b.anchors)
		return -ENOMEM;
	b.cap_pending = 256;
	b.pending = calloc(b.cap_pending, sizeof(struct node *));
	if (!b.pending)
		return -ENOMEM;
	r = build(&b, text, len);
	free(b.pending);
	if (r == 0 && b.faulty)
		r = -EINVAL;
	return r;
}
