// Four consecutive elements of a row at once. With VECTOR, which the shader
// declares, they are one load or store; without it the row may start and end
// anywhere, of the four only the first n exist, and the others read as fill.
#define QUAD_READER(name, LOAD_OP, buffer_name) \
	vec4 name(uint at, uint n, float fill) { \
		if (VECTOR) return LOAD_OP##4(buffer_name, at); \
		vec4 v = vec4(fill); \
		[[unroll]] for (uint i = 0u; i < 4u; i++) if (i < n) v[i] = LOAD_OP(buffer_name, at + i); \
		return v; \
	}
#define QUAD_WRITER(name, STORE_OP, buffer_name) \
	void name(uint at, uint n, vec4 v) { \
		if (VECTOR) { \
			STORE_OP##4(buffer_name, at, v); \
			return; \
		} \
		[[unroll]] for (uint i = 0u; i < 4u; i++) if (i < n) STORE_OP(buffer_name, at + i, v[i]); \
	}
