#include "shim.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// Structure types and flags (values of the Vulkan registry).
enum {
	ST_SUBMIT_INFO = 4, ST_SHADER_STAGE = 18, ST_COMPUTE_PIPELINE = 29, ST_WRITE_DESCRIPTOR_SET = 35, ST_MEMORY_BARRIER = 46,
	ST_FEATURES_2 = 1000059000, ST_PROPERTIES_2 = 1000059001, ST_16BIT_STORAGE = 1000083000, ST_SUBGROUP_PROPERTIES = 1000094000,
	ST_DEBUG_MESSENGER = 1000128004, ST_DRIVER_PROPERTIES = 1000196000, ST_SIZE_CONTROL_PROPERTIES = 1000225000,
	ST_REQUIRED_SUBGROUP_SIZE = 1000225001, ST_SIZE_CONTROL_FEATURES = 1000225002, ST_VALIDATION_FEATURES = 1000247000,
	ST_FLOAT16_INT8 = 1000082000, ST_BFLOAT16 = 1000141000, ST_MEMORY_MODEL = 1000211000, ST_EXECUTABLE_FEATURES = 1000269000,
	ST_PIPELINE_INFO = 1000269001, ST_EXECUTABLE_PROPERTIES = 1000269002, ST_EXECUTABLE_INFO = 1000269003, ST_EXECUTABLE_STATISTIC = 1000269004,
	ST_MATRIX_FEATURES = 1000506000, ST_MATRIX_PROPERTIES = 1000506001, ST_MATRIX2_FEATURES = 1000593000, ST_FLEXIBLE_MATRIX = 1000593001,
	ST_MATRIX2_PROPERTIES = 1000593002, ST_MAINTENANCE4 = 1000413000,
	ST_MEMORY_PROPERTIES_2 = 1000059006, ST_MEMORY_BUDGET = 1000237000,
	STAGE_COMPUTE = 0x20, CAPTURE_STATISTICS = 0x40, QUEUE_COMPUTE = 0x2, FULL_SUBGROUPS = 0x2, BIND_COMPUTE = 1, DESCRIPTOR_STORAGE_BUFFER = 7,
	DESCRIPTOR_UNIFORM_TEXEL_BUFFER = 4,
	PIPE_COMPUTE = 0x800, PIPE_TRANSFER = 0x1000, PIPE_BOTTOM = 0x2000, PIPE_HOST = 0x4000,
	ACCESS_SHADER_READ = 0x20, ACCESS_SHADER_WRITE = 0x40, ACCESS_TRANSFER_READ = 0x800, ACCESS_TRANSFER_WRITE = 0x1000, ACCESS_HOST_READ = 0x2000,
	SEVERITY_ERROR = 0x1000, VALIDATE_SYNCHRONIZATION = 4, NOT_PRESENT = -7,
};

typedef void (*anyfn)(void);
static anyfn (*get_instance_proc)(shim_handle, const char *);
static anyfn (*get_device_proc)(shim_handle, const char *);
static int (*enumerate_layers)(uint32_t *, ShimLayerProperties *);
static int (*enumerate_instance_extensions)(const char *, uint32_t *, ShimExtensionProperties *);
static int (*enumerate_device_extensions)(shim_handle, const char *, uint32_t *, ShimExtensionProperties *);
static void (*get_queue_families)(shim_handle, uint32_t *, ShimQueueFamilyProperties *);
static void (*get_features2)(shim_handle, ShimFeatures2 *);
static void (*get_properties2)(shim_handle, ShimProperties2 *);
static void (*get_memory_properties2)(shim_handle, ShimMemoryProperties2 *);
static int (*get_matrices)(shim_handle, uint32_t *, ShimMatrixProperties *);
static int (*get_flexible_matrices)(shim_handle, uint32_t *, ShimFlexibleMatrixProperties *);
static int (*get_executables)(shim_handle, const ShimPipelineInfo *, uint32_t *, ShimExecutableProperties *);
static int (*get_statistics)(shim_handle, const ShimExecutableInfo *, uint32_t *, ShimExecutableStatistic *);
static int (*create_messenger)(shim_handle, const ShimMessengerCreateInfo *, const void *, shim_handle *);
static void (*destroy_messenger)(shim_handle, shim_handle, const void *);
static int (*create_pipelines)(shim_handle, shim_handle, uint32_t, const ShimComputePipelineCreateInfo *, const void *, shim_handle *);
static void (*cmd_bind_pipeline)(shim_handle, int32_t, shim_handle);
static void (*cmd_push_descriptors)(shim_handle, int32_t, shim_handle, uint32_t, uint32_t, const ShimWriteDescriptorSet *);
static void (*cmd_push_constants)(shim_handle, shim_handle, uint32_t, uint32_t, uint32_t, const void *);
static void (*cmd_dispatch)(shim_handle, uint32_t, uint32_t, uint32_t);
static void (*cmd_barrier)(shim_handle, uint32_t, uint32_t, uint32_t, uint32_t, const ShimMemoryBarrier *, uint32_t, const void *, uint32_t, const void *);
static void (*cmd_copy)(shim_handle, shim_handle, shim_handle, uint32_t, const ShimBufferCopy *);
static void (*cmd_fill)(shim_handle, shim_handle, uint64_t, uint64_t, uint32_t);
static void (*cmd_reset_queries)(shim_handle, shim_handle, uint32_t, uint32_t);
static void (*cmd_timestamp)(shim_handle, uint32_t, shim_handle, uint32_t);
static int (*queue_submit)(shim_handle, uint32_t, const ShimSubmitInfo *, shim_handle);
static int (*wait_fences)(shim_handle, uint32_t, const shim_handle *, uint32_t, uint64_t);

void *shim_open_loader(const char *name) {
	void *lib = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	return lib ? dlsym(lib, "vkGetInstanceProcAddr") : NULL;
}

#define INSTANCE_FN(variable, name) (*(anyfn *)&variable = get_instance_proc(instance, name))
#define DEVICE_FN(variable, name) (*(anyfn *)&variable = get_device_proc(device, name))

int shim_load_global(void *getInstanceProcAddr) {
	void *instance = NULL;
	*(void **)&get_instance_proc = getInstanceProcAddr;
	INSTANCE_FN(enumerate_layers, "vkEnumerateInstanceLayerProperties");
	INSTANCE_FN(enumerate_instance_extensions, "vkEnumerateInstanceExtensionProperties");
	return enumerate_layers && enumerate_instance_extensions;
}

int shim_load_instance(void *instance) {
	INSTANCE_FN(get_device_proc, "vkGetDeviceProcAddr");
	INSTANCE_FN(enumerate_device_extensions, "vkEnumerateDeviceExtensionProperties");
	INSTANCE_FN(get_queue_families, "vkGetPhysicalDeviceQueueFamilyProperties");
	INSTANCE_FN(get_features2, "vkGetPhysicalDeviceFeatures2");
	INSTANCE_FN(get_properties2, "vkGetPhysicalDeviceProperties2");
	INSTANCE_FN(get_memory_properties2, "vkGetPhysicalDeviceMemoryProperties2");
	INSTANCE_FN(get_matrices, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
	INSTANCE_FN(get_flexible_matrices, "vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV");
	INSTANCE_FN(create_messenger, "vkCreateDebugUtilsMessengerEXT");
	INSTANCE_FN(destroy_messenger, "vkDestroyDebugUtilsMessengerEXT");
	return get_device_proc && enumerate_device_extensions && get_queue_families && get_features2 && get_properties2 &&
		get_memory_properties2;
}

int shim_load_device(void *device) {
	DEVICE_FN(create_pipelines, "vkCreateComputePipelines");
	DEVICE_FN(cmd_bind_pipeline, "vkCmdBindPipeline");
	DEVICE_FN(cmd_push_descriptors, "vkCmdPushDescriptorSetKHR");
	DEVICE_FN(cmd_push_constants, "vkCmdPushConstants");
	DEVICE_FN(cmd_dispatch, "vkCmdDispatch");
	DEVICE_FN(cmd_barrier, "vkCmdPipelineBarrier");
	DEVICE_FN(cmd_copy, "vkCmdCopyBuffer");
	DEVICE_FN(cmd_fill, "vkCmdFillBuffer");
	DEVICE_FN(cmd_reset_queries, "vkCmdResetQueryPool");
	DEVICE_FN(cmd_timestamp, "vkCmdWriteTimestamp");
	DEVICE_FN(queue_submit, "vkQueueSubmit");
	DEVICE_FN(wait_fences, "vkWaitForFences");
	DEVICE_FN(get_executables, "vkGetPipelineExecutablePropertiesKHR");
	DEVICE_FN(get_statistics, "vkGetPipelineExecutableStatisticsKHR");
	return create_pipelines && cmd_bind_pipeline && cmd_push_descriptors && cmd_push_constants && cmd_dispatch && cmd_barrier &&
		cmd_copy && cmd_fill && cmd_reset_queries && cmd_timestamp && queue_submit && wait_fences;
}

int shim_has_layer(const char *name) {
	uint32_t n = 0;
	int found = 0;
	if (enumerate_layers(&n, NULL) || n == 0) return 0;
	ShimLayerProperties *list = calloc(n, sizeof *list);
	enumerate_layers(&n, list);
	for (uint32_t i = 0; i < n; i++) found |= strcmp(list[i].layerName, name) == 0;
	free(list);
	return found;
}

static int has_extension(const ShimExtensionProperties *list, uint32_t n, const char *name) {
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(list[i].extensionName, name) == 0) return 1;
	return 0;
}

int shim_has_instance_extension(const char *layer, const char *name) {
	uint32_t n = 0;
	if (enumerate_instance_extensions(layer, &n, NULL) || n == 0) return 0;
	ShimExtensionProperties *list = calloc(n, sizeof *list);
	enumerate_instance_extensions(layer, &n, list);
	int found = has_extension(list, n, name);
	free(list);
	return found;
}

int shim_has_device_extension(void *physical, const char *name) {
	uint32_t n = 0;
	if (enumerate_device_extensions(physical, NULL, &n, NULL) || n == 0) return 0;
	ShimExtensionProperties *list = calloc(n, sizeof *list);
	enumerate_device_extensions(physical, NULL, &n, list);
	int found = has_extension(list, n, name);
	free(list);
	return found;
}

// The first queue family that computes, or -1.
int shim_compute_queue_family(void *physical, uint32_t *timestampBits) {
	uint32_t n = 0;
	int family = -1;
	get_queue_families(physical, &n, NULL);
	ShimQueueFamilyProperties *list = calloc(n, sizeof *list);
	get_queue_families(physical, &n, list);
	for (uint32_t i = 0; i < n && family < 0; i++)
		if ((list[i].queueFlags & QUEUE_COMPUTE) && list[i].queueCount > 0) {
			family = (int)i;
			*timestampBits = list[i].timestampValidBits;
		}
	free(list);
	return family;
}

// Puts a structure before a pNext chain.
#define CHAIN(chain, structure) ((structure).pNext = (chain), (chain) = &(structure))

void shim_capabilities(void *physical, uint32_t have, shim_caps *out) {
	ShimSubgroupSizeControlFeatures fc = {ST_SIZE_CONTROL_FEATURES};
	Shim16BitStorageFeatures f16 = {ST_16BIT_STORAGE};
	ShimMemoryModelFeatures fm = {ST_MEMORY_MODEL};
	ShimFloat16Int8Features ff = {ST_FLOAT16_INT8};
	ShimMatrixFeatures fk = {ST_MATRIX_FEATURES};
	ShimBfloat16Features fb = {ST_BFLOAT16};
	ShimMatrix2Features f2 = {ST_MATRIX2_FEATURES};
	ShimMaintenance4Features f4 = {ST_MAINTENANCE4};
	ShimExecutableFeatures fe = {ST_EXECUTABLE_FEATURES};
	ShimFeatures2 features = {ST_FEATURES_2};
	CHAIN(features.pNext, f16);
	if (have & SHIM_SIZE_CONTROL) CHAIN(features.pNext, fc);
	if (have & SHIM_CORE_1_2) CHAIN(features.pNext, fm), CHAIN(features.pNext, ff);
	if (have & SHIM_MATRIX) CHAIN(features.pNext, fk);
	if (have & SHIM_BFLOAT16) CHAIN(features.pNext, fb);
	if (have & SHIM_MATRIX2) CHAIN(features.pNext, f2);
	if (have & SHIM_MAINTENANCE4) CHAIN(features.pNext, f4);
	if (have & SHIM_STATISTICS) CHAIN(features.pNext, fe);
	get_features2(physical, &features);
	ShimSubgroupSizeControlProperties pc = {ST_SIZE_CONTROL_PROPERTIES};
	ShimDriverProperties pd = {ST_DRIVER_PROPERTIES};
	ShimSubgroupProperties ps = {ST_SUBGROUP_PROPERTIES};
	ShimMatrix2Properties pm = {ST_MATRIX2_PROPERTIES};
	ShimProperties2 properties = {ST_PROPERTIES_2};
	CHAIN(properties.pNext, ps);
	if (have & SHIM_SIZE_CONTROL) CHAIN(properties.pNext, pc);
	if (have & SHIM_DRIVER) CHAIN(properties.pNext, pd);
	if (have & SHIM_MATRIX2) CHAIN(properties.pNext, pm);
	get_properties2(physical, &properties);
	*out = (shim_caps){
		.storage16 = f16.storageBuffer16BitAccess, .subgroupSizeControl = fc.subgroupSizeControl, .fullSubgroups = fc.computeFullSubgroups,
		.memoryModel = fm.vulkanMemoryModel && fm.vulkanMemoryModelDeviceScope, .float16 = ff.shaderFloat16, .matrix = fk.cooperativeMatrix,
		.bfloat16Matrix = fb.shaderBFloat16Type && fb.shaderBFloat16CooperativeMatrix,
		.workgroupMatrix = f2.cooperativeMatrixWorkgroupScope && f2.cooperativeMatrixFlexibleDimensions && f2.cooperativeMatrixTensorAddressing &&
			f2.cooperativeMatrixPerElementOperations,
		.maintenance4 = f4.maintenance4, .statistics = fe.pipelineExecutableInfo, .workgroupMatrixSize = pm.cooperativeMatrixWorkgroupScopeMaxWorkgroupSize,
		.matrixDimension = pm.cooperativeMatrixFlexibleDimensionsMaxDimension,
		.reservedShared = pm.cooperativeMatrixWorkgroupScopeReservedSharedMemory, .subgroupSize = ps.subgroupSize,
		.subgroupStages = ps.supportedStages, .subgroupOperations = ps.supportedOperations, .minSubgroupSize = pc.minSubgroupSize,
		.maxSubgroupSize = pc.maxSubgroupSize, .requiredSubgroupSizeStages = pc.requiredSubgroupSizeStages,
	};
	memcpy(out->driverName, pd.driverName, sizeof out->driverName);
	memcpy(out->driverInfo, pd.driverInfo, sizeof out->driverInfo);
}

// What this process may have of a heap at present, with what it has; the device must list VK_EXT_memory_budget.
uint64_t shim_heap_budget(void *physical, uint32_t heap) {
	ShimMemoryBudget budget = {ST_MEMORY_BUDGET};
	ShimMemoryProperties2 properties = {ST_MEMORY_PROPERTIES_2, &budget};
	get_memory_properties2(physical, &properties);
	return heap < 16 ? budget.heapBudget[heap] : 0;
}

static uint32_t fixed_matrices(void *physical, shim_matrix *out, uint32_t room) {
	uint32_t n = 0;
	if (!get_matrices || get_matrices(physical, &n, NULL) || n == 0) return 0;
	ShimMatrixProperties *list = calloc(n, sizeof *list);
	for (uint32_t i = 0; i < n; i++) list[i].sType = ST_MATRIX_PROPERTIES;
	if (get_matrices(physical, &n, list)) n = 0;
	if (n > room) n = room;
	for (uint32_t i = 0; i < n; i++) {
		ShimMatrixProperties *p = &list[i];
		out[i] = (shim_matrix){p->MSize, p->NSize, p->KSize, p->AType, p->BType, p->CType, p->ResultType, p->saturatingAccumulation, p->scope, 0};
	}
	free(list);
	return n;
}

// The products of cooperative matrices that a device lists, at most room of them: those of fixed sizes, or with
// flexible those of any multiple of a granularity. The device must list the extension.
uint32_t shim_matrices(void *physical, int flexible, shim_matrix *out, uint32_t room) {
	if (!flexible) return fixed_matrices(physical, out, room);
	uint32_t n = 0;
	if (!get_flexible_matrices || get_flexible_matrices(physical, &n, NULL) || n == 0) return 0;
	ShimFlexibleMatrixProperties *list = calloc(n, sizeof *list);
	for (uint32_t i = 0; i < n; i++) list[i].sType = ST_FLEXIBLE_MATRIX;
	if (get_flexible_matrices(physical, &n, list)) n = 0;
	if (n > room) n = room;
	for (uint32_t i = 0; i < n; i++) {
		ShimFlexibleMatrixProperties *p = &list[i];
		out[i] = (shim_matrix){p->MGranularity, p->NGranularity, p->KGranularity, p->AType, p->BType, p->CType, p->ResultType,
			p->saturatingAccumulation, p->scope, p->workgroupInvocations};
	}
	free(list);
	return n;
}

// The pNext chain for vkCreateDevice; C memory that the caller frees with free().
void *shim_feature_chain(uint32_t want) {
	struct {
		Shim16BitStorageFeatures f16; ShimSubgroupSizeControlFeatures fc; ShimMemoryModelFeatures fm; ShimFloat16Int8Features ff;
		ShimMatrixFeatures fk; ShimBfloat16Features fb; ShimMatrix2Features f2; ShimMaintenance4Features f4; ShimExecutableFeatures fe;
	} *all = calloc(1, sizeof *all);
	void *chain = NULL;
	all->fc = (ShimSubgroupSizeControlFeatures){ST_SIZE_CONTROL_FEATURES, NULL, 1, 1};
	all->fm = (ShimMemoryModelFeatures){ST_MEMORY_MODEL, NULL, 1, 1};
	all->ff = (ShimFloat16Int8Features){ST_FLOAT16_INT8, NULL, 1};
	all->fk = (ShimMatrixFeatures){ST_MATRIX_FEATURES, NULL, 1};
	all->fb = (ShimBfloat16Features){ST_BFLOAT16, NULL, 1, 0, 1};
	all->f2 = (ShimMatrix2Features){ST_MATRIX2_FEATURES, .cooperativeMatrixWorkgroupScope = 1, .cooperativeMatrixFlexibleDimensions = 1,
		.cooperativeMatrixPerElementOperations = 1, .cooperativeMatrixTensorAddressing = 1};
	all->f4 = (ShimMaintenance4Features){ST_MAINTENANCE4, NULL, 1};
	all->fe = (ShimExecutableFeatures){ST_EXECUTABLE_FEATURES, NULL, 1};
	all->f16 = (Shim16BitStorageFeatures){ST_16BIT_STORAGE, NULL, 1};
	if (want & SHIM_SIZE_CONTROL) CHAIN(chain, all->fc);
	if (want & SHIM_MATRIX) CHAIN(chain, all->fm), CHAIN(chain, all->fk);
	if (want & SHIM_FLOAT16) CHAIN(chain, all->ff);
	if (want & SHIM_BFLOAT16) CHAIN(chain, all->fb);
	if (want & SHIM_MATRIX2) CHAIN(chain, all->f2);
	if (want & SHIM_MAINTENANCE4) CHAIN(chain, all->f4);
	if (want & SHIM_STATISTICS) CHAIN(chain, all->fe);
	CHAIN(chain, all->f16); // the first member, whose address is the allocation's
	return chain;
}

extern void vkdominoMessage(uintptr_t user, char *id, char *text);

static uint32_t on_message(uint32_t severity, uint32_t types, const ShimMessengerCallbackDataHead *data, void *user) {
	(void)types;
	if (severity & SEVERITY_ERROR)
		vkdominoMessage((uintptr_t)user, (char *)(data->pMessageIdName ? data->pMessageIdName : ""), (char *)(data->pMessage ? data->pMessage : ""));
	return 0;
}

static ShimMessengerCreateInfo messenger_info(uintptr_t user) {
	return (ShimMessengerCreateInfo){ST_DEBUG_MESSENGER, NULL, 0, SEVERITY_ERROR, 7, on_message, (void *)user};
}

// The pNext chain for vkCreateInstance; C memory that the caller frees with free() once the instance is destroyed.
void *shim_validation_chain(int synchronization, uintptr_t user) {
	static const int32_t enables[1] = {VALIDATE_SYNCHRONIZATION};
	struct { ShimValidationFeatures features; ShimMessengerCreateInfo messenger; } *chain = calloc(1, sizeof *chain);
	chain->messenger = messenger_info(user);
	chain->features = (ShimValidationFeatures){ST_VALIDATION_FEATURES, &chain->messenger, synchronization ? 1 : 0, enables, 0, NULL};
	return chain;
}

int shim_create_messenger(void *instance, uintptr_t user, void **out) {
	if (!create_messenger) return NOT_PRESENT;
	ShimMessengerCreateInfo info = messenger_info(user);
	return create_messenger(instance, &info, NULL, out);
}

void shim_destroy_messenger(void *instance, void *messenger) {
	if (destroy_messenger) destroy_messenger(instance, messenger, NULL);
}

int shim_create_pipeline(void *device, void *module, void *layout, uint32_t subgroupSize, int full, int statistics, uint32_t specCount, const uint32_t *spec, uint32_t broadcasts, void **out) {
	ShimSpecializationMapEntry entries[17];
	uint32_t values[17];
	if (specCount > 16) return NOT_PRESENT;
	for (uint32_t i = 0; i < specCount; i++) {
		entries[i] = (ShimSpecializationMapEntry){i, i * 4, 4};
		values[i] = spec[i];
	}
	entries[specCount] = (ShimSpecializationMapEntry){30, specCount * 4, 4}; // shaders/include/from_lane.glsl
	values[specCount++] = broadcasts;
	ShimSpecializationInfo info = {specCount, entries, specCount * 4, values};
	ShimRequiredSubgroupSize required = {ST_REQUIRED_SUBGROUP_SIZE, NULL, subgroupSize};
	ShimComputePipelineCreateInfo create = {ST_COMPUTE_PIPELINE, NULL, statistics ? CAPTURE_STATISTICS : 0,
		{ST_SHADER_STAGE, subgroupSize ? &required : NULL, full ? FULL_SUBGROUPS : 0, STAGE_COMPUTE, module, "main", &info},
		layout, NULL, 0};
	return create_pipelines(device, NULL, 1, &create, NULL, out);
}

// What the driver tells of a pipeline that was created with statistics, at most room of it.
uint32_t shim_statistics(void *device, void *pipeline, shim_statistic *out, uint32_t room) {
	const ShimPipelineInfo info = {ST_PIPELINE_INFO, NULL, pipeline};
	uint32_t executables = 0, found = 0;
	if (!get_executables || !get_statistics || get_executables(device, &info, &executables, NULL)) return 0;
	for (uint32_t e = 0; e < executables; e++) {
		const ShimExecutableInfo executable = {ST_EXECUTABLE_INFO, NULL, pipeline, e};
		uint32_t n = 0;
		if (get_statistics(device, &executable, &n, NULL) || n == 0) continue;
		ShimExecutableStatistic *list = calloc(n, sizeof *list);
		for (uint32_t i = 0; i < n; i++) list[i].sType = ST_EXECUTABLE_STATISTIC;
		if (get_statistics(device, &executable, &n, list)) n = 0;
		for (uint32_t i = 0; i < n && found < room; i++, found++) {
			memcpy(out[found].name, list[i].name, sizeof out->name);
			out[found].format = list[i].format;
			out[found].value = list[i].value;
		}
		free(list);
	}
	return found;
}

static void record_dispatch(void *commandBuffer, const shim_op *op) {
	ShimDescriptorBufferInfo infos[SHIM_MAX_BUFFERS];
	ShimWriteDescriptorSet writes[SHIM_MAX_BUFFERS];
	shim_handle views[SHIM_MAX_BUFFERS];
	for (uint32_t i = 0; i < op->bufferCount; i++) {
		views[i] = (shim_handle)(uintptr_t)op->buffers[i];
		infos[i] = (ShimDescriptorBufferInfo){(shim_handle)(uintptr_t)op->buffers[i], op->offsets[i], op->ranges[i]};
		writes[i] = (ShimWriteDescriptorSet){ST_WRITE_DESCRIPTOR_SET, NULL, NULL, i, 0, 1, DESCRIPTOR_STORAGE_BUFFER, NULL, &infos[i], NULL};
		if (op->texels >> i & 1) writes[i] = (ShimWriteDescriptorSet){ST_WRITE_DESCRIPTOR_SET, NULL, NULL, i, 0, 1, DESCRIPTOR_UNIFORM_TEXEL_BUFFER, NULL, NULL, &views[i]};
	}
	shim_handle layout = (shim_handle)(uintptr_t)op->layout;
	cmd_bind_pipeline(commandBuffer, BIND_COMPUTE, (shim_handle)(uintptr_t)op->pipeline);
	cmd_push_descriptors(commandBuffer, BIND_COMPUTE, layout, 0, op->bufferCount, writes);
	if (op->pushBytes) cmd_push_constants(commandBuffer, layout, STAGE_COMPUTE, 0, op->pushBytes, op->push);
	cmd_dispatch(commandBuffer, op->x, op->y, op->z);
}

// With last, what the commands wrote is made visible to the host: a fence alone does not.
void shim_record(void *commandBuffer, const shim_op *ops, uint32_t n, int last) {
	const uint32_t stages = PIPE_COMPUTE | PIPE_TRANSFER;
	const ShimMemoryBarrier all = {ST_MEMORY_BARRIER, NULL, ACCESS_SHADER_WRITE | ACCESS_TRANSFER_WRITE,
		ACCESS_SHADER_READ | ACCESS_SHADER_WRITE | ACCESS_TRANSFER_READ | ACCESS_TRANSFER_WRITE};
	for (const shim_op *op = ops; op < ops + n; op++) {
		if (op->barrier) cmd_barrier(commandBuffer, stages, stages, 0, 1, &all, 0, NULL, 0, NULL);
		shim_handle first = (shim_handle)(uintptr_t)op->buffers[0];
		switch (op->kind) {
		case SHIM_DISPATCH: record_dispatch(commandBuffer, op); break;
		case SHIM_COPY: {
			ShimBufferCopy copy = {op->offsets[1], op->offsets[0], op->ranges[0]};
			cmd_copy(commandBuffer, (shim_handle)(uintptr_t)op->buffers[1], first, 1, &copy);
			break;
		}
		case SHIM_FILL: cmd_fill(commandBuffer, first, op->offsets[0], op->ranges[0], op->push[0]); break;
		case SHIM_RESET_QUERIES: cmd_reset_queries(commandBuffer, first, 0, op->x); break;
		case SHIM_TIMESTAMP: cmd_timestamp(commandBuffer, PIPE_BOTTOM, first, op->x); break;
		}
	}
	const ShimMemoryBarrier host = {ST_MEMORY_BARRIER, NULL, ACCESS_SHADER_WRITE | ACCESS_TRANSFER_WRITE, ACCESS_HOST_READ};
	if (last) cmd_barrier(commandBuffer, stages, PIPE_HOST, 0, 1, &host, 0, NULL, 0, NULL);
}

int shim_submit(void *queue, void *commandBuffer, void *fence) {
	ShimSubmitInfo info = {ST_SUBMIT_INFO, NULL, 0, NULL, NULL, 1, &commandBuffer, 0, NULL};
	return queue_submit(queue, 1, &info, fence);
}

int shim_wait(void *device, void *fence, uint64_t nanoseconds) { return wait_fences(device, 1, &fence, 1, nanoseconds); }
