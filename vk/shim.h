// What vulkan-go lacks or cannot do safely: see doc.go. Every structure here is
// declared by this project; shim_layout_test.go compares size and offsets with
// the system's Vulkan headers where they are installed.
#ifndef VKDOMINO_SHIM_H
#define VKDOMINO_SHIM_H
#include <stddef.h>
#include <stdint.h>

typedef void *shim_handle; // dispatchable and (on 64-bit) other handles alike

// ---- Vulkan structures, by their own names with the prefix Shim ----
typedef struct { int32_t sType; const void *pNext; uint32_t srcAccessMask, dstAccessMask; } ShimMemoryBarrier;
typedef struct { shim_handle buffer; uint64_t offset, range; } ShimDescriptorBufferInfo;
typedef struct {
	int32_t sType; const void *pNext; shim_handle dstSet;
	uint32_t dstBinding, dstArrayElement, descriptorCount; int32_t descriptorType;
	const void *pImageInfo; const ShimDescriptorBufferInfo *pBufferInfo; const void *pTexelBufferView;
} ShimWriteDescriptorSet;
typedef struct { uint64_t srcOffset, dstOffset, size; } ShimBufferCopy;
typedef struct { uint32_t constantID, offset; size_t size; } ShimSpecializationMapEntry;
typedef struct { uint32_t mapEntryCount; const ShimSpecializationMapEntry *pMapEntries; size_t dataSize; const void *pData; } ShimSpecializationInfo;
typedef struct {
	int32_t sType; const void *pNext; uint32_t flags; int32_t stage; shim_handle module;
	const char *pName; const ShimSpecializationInfo *pSpecializationInfo;
} ShimPipelineShaderStageCreateInfo;
typedef struct { int32_t sType; void *pNext; uint32_t requiredSubgroupSize; } ShimRequiredSubgroupSize;
typedef struct {
	int32_t sType; const void *pNext; uint32_t flags; ShimPipelineShaderStageCreateInfo stage;
	shim_handle layout, basePipelineHandle; int32_t basePipelineIndex;
} ShimComputePipelineCreateInfo;
typedef struct {
	int32_t sType; const void *pNext; uint32_t waitSemaphoreCount; const shim_handle *pWaitSemaphores;
	const uint32_t *pWaitDstStageMask; uint32_t commandBufferCount; const shim_handle *pCommandBuffers;
	uint32_t signalSemaphoreCount; const shim_handle *pSignalSemaphores;
} ShimSubmitInfo;
typedef struct { char extensionName[256]; uint32_t specVersion; } ShimExtensionProperties;
typedef struct { char layerName[256]; uint32_t specVersion, implementationVersion; char description[256]; } ShimLayerProperties;
typedef struct { uint32_t queueFlags, queueCount, timestampValidBits, granularity[3]; } ShimQueueFamilyProperties;
typedef struct { int32_t sType; void *pNext; uint32_t features[55]; } ShimFeatures2;
typedef struct { int32_t sType; void *pNext; uint32_t storageBuffer16BitAccess, uniformAndStorageBuffer16BitAccess, storagePushConstant16, storageInputOutput16; } Shim16BitStorageFeatures;
typedef struct { int32_t sType; void *pNext; uint32_t subgroupSizeControl, computeFullSubgroups; } ShimSubgroupSizeControlFeatures;
typedef struct { int32_t sType; void *pNext; uint64_t properties[103]; } ShimProperties2;
typedef struct { int32_t sType; void *pNext; uint32_t subgroupSize, supportedStages, supportedOperations, quadOperationsInAllStages; } ShimSubgroupProperties;
typedef struct { int32_t sType; void *pNext; uint32_t minSubgroupSize, maxSubgroupSize, maxComputeWorkgroupSubgroups, requiredSubgroupSizeStages; } ShimSubgroupSizeControlProperties;
typedef struct { int32_t sType; void *pNext; int32_t driverID; char driverName[256], driverInfo[256]; uint8_t conformanceVersion[4]; } ShimDriverProperties;
typedef struct { int32_t sType; void *pNext; uint32_t vulkanMemoryModel, vulkanMemoryModelDeviceScope, vulkanMemoryModelAvailabilityVisibilityChains; } ShimMemoryModelFeatures;
typedef struct { int32_t sType; void *pNext; uint32_t shaderFloat16, shaderInt8; } ShimFloat16Int8Features;
typedef struct { int32_t sType; void *pNext; uint32_t cooperativeMatrix, cooperativeMatrixRobustBufferAccess; } ShimMatrixFeatures;
typedef struct { int32_t sType; void *pNext; uint32_t shaderBFloat16Type, shaderBFloat16DotProduct, shaderBFloat16CooperativeMatrix; } ShimBfloat16Features;
typedef struct {
	int32_t sType; void *pNext; uint32_t cooperativeMatrixWorkgroupScope, cooperativeMatrixFlexibleDimensions, cooperativeMatrixReductions,
		cooperativeMatrixConversions, cooperativeMatrixPerElementOperations, cooperativeMatrixTensorAddressing, cooperativeMatrixBlockLoads;
} ShimMatrix2Features;
typedef struct {
	int32_t sType; void *pNext; uint32_t cooperativeMatrixWorkgroupScopeMaxWorkgroupSize, cooperativeMatrixFlexibleDimensionsMaxDimension,
		cooperativeMatrixWorkgroupScopeReservedSharedMemory;
} ShimMatrix2Properties;
typedef struct {
	int32_t sType; void *pNext; uint32_t MSize, NSize, KSize; int32_t AType, BType, CType, ResultType; uint32_t saturatingAccumulation; int32_t scope;
} ShimMatrixProperties;
typedef struct {
	int32_t sType; void *pNext; uint32_t MGranularity, NGranularity, KGranularity; int32_t AType, BType, CType, ResultType;
	uint32_t saturatingAccumulation; int32_t scope; uint32_t workgroupInvocations;
} ShimFlexibleMatrixProperties;
typedef struct { int32_t sType; void *pNext; uint32_t maintenance4; } ShimMaintenance4Features;
typedef struct { int32_t sType; void *pNext; uint64_t memoryProperties[65]; } ShimMemoryProperties2;
typedef struct { int32_t sType; void *pNext; uint64_t heapBudget[16], heapUsage[16]; } ShimMemoryBudget;
typedef struct { int32_t sType; void *pNext; uint32_t pipelineExecutableInfo; } ShimExecutableFeatures;
typedef struct { int32_t sType; const void *pNext; shim_handle pipeline; } ShimPipelineInfo;
typedef struct { int32_t sType; void *pNext; uint32_t stages; char name[256], description[256]; uint32_t subgroupSize; } ShimExecutableProperties;
typedef struct { int32_t sType; const void *pNext; shim_handle pipeline; uint32_t executableIndex; } ShimExecutableInfo;
typedef struct { int32_t sType; void *pNext; char name[256], description[256]; int32_t format; uint64_t value; } ShimExecutableStatistic;
typedef struct {
	int32_t sType; const void *pNext; uint32_t flags; const char *pMessageIdName; int32_t messageIdNumber; const char *pMessage;
} ShimMessengerCallbackDataHead; // the leading members of VkDebugUtilsMessengerCallbackDataEXT
typedef uint32_t (*shim_messenger_fn)(uint32_t severity, uint32_t types, const ShimMessengerCallbackDataHead *data, void *user);
typedef struct { int32_t sType; const void *pNext; uint32_t flags, messageSeverity, messageType; shim_messenger_fn pfnUserCallback; void *pUserData; } ShimMessengerCreateInfo;
typedef struct {
	int32_t sType; const void *pNext; uint32_t enabledValidationFeatureCount; const int32_t *pEnabledValidationFeatures;
	uint32_t disabledValidationFeatureCount; const int32_t *pDisabledValidationFeatures;
} ShimValidationFeatures;

// ---- what Go calls ----
// A timestamp goes to query x of the pool in buffers[0]; a reset clears its first x queries.
enum { SHIM_DISPATCH = 0, SHIM_COPY = 1, SHIM_FILL = 2, SHIM_RESET_QUERIES = 3, SHIM_TIMESTAMP = 4 };
enum { SHIM_MAX_BUFFERS = 8, SHIM_PUSH_WORDS = 32 };

// One recorded command. Handles are carried as integers so that a Go slice of
// these holds no pointers.
typedef struct {
	uint64_t pipeline, layout;
	uint64_t buffers[SHIM_MAX_BUFFERS], offsets[SHIM_MAX_BUFFERS], ranges[SHIM_MAX_BUFFERS];
	uint32_t kind, barrier, bufferCount, pushBytes, x, y, z, texels; // texels, bit i: buffers[i] is a view of one as texels
	uint32_t push[SHIM_PUSH_WORDS];
} shim_op;

// What a device lists and what to enable: bits of the masks that the functions below take.
enum {
	SHIM_SIZE_CONTROL = 1, SHIM_DRIVER = 2, SHIM_CORE_1_2 = 4, SHIM_MATRIX = 8, SHIM_BFLOAT16 = 16, SHIM_MATRIX2 = 32, SHIM_STATISTICS = 64,
	SHIM_FLOAT16 = 128, SHIM_MAINTENANCE4 = 256,
};

typedef struct {
	uint32_t storage16, subgroupSizeControl, fullSubgroups;
	uint32_t memoryModel, float16, matrix, bfloat16Matrix, workgroupMatrix, maintenance4, statistics;
	uint32_t workgroupMatrixSize, matrixDimension, reservedShared; // limits of matrices of workgroup scope
	uint32_t subgroupSize, subgroupStages, subgroupOperations;
	uint32_t minSubgroupSize, maxSubgroupSize, requiredSubgroupSizeStages;
	char driverName[256], driverInfo[256];
} shim_caps;

// A product of cooperative matrices that a device lists: sizes, or granularities for any size; component types and
// scope as in the Vulkan registry. invocations is 0 for a scope other than the workgroup.
typedef struct { uint32_t m, n, k; int32_t a, b, c, result; uint32_t saturating; int32_t scope; uint32_t invocations; } shim_matrix;

typedef struct { char name[256]; int32_t format; uint64_t value; } shim_statistic;

void *shim_open_loader(const char *name);
int shim_load_global(void *getInstanceProcAddr);
int shim_load_instance(void *instance);
int shim_load_device(void *device);
int shim_has_layer(const char *name);
int shim_has_instance_extension(const char *layer, const char *name);
int shim_has_device_extension(void *physical, const char *name);
int shim_compute_queue_family(void *physical, uint32_t *timestampBits);
void shim_capabilities(void *physical, uint32_t have, shim_caps *out);
uint64_t shim_heap_budget(void *physical, uint32_t heap);
uint32_t shim_matrices(void *physical, int flexible, shim_matrix *out, uint32_t room);
void *shim_feature_chain(uint32_t want);
void *shim_validation_chain(int synchronization, uintptr_t user);
int shim_create_messenger(void *instance, uintptr_t user, void **out);
void shim_destroy_messenger(void *instance, void *messenger);
int shim_create_pipeline(void *device, void *module, void *layout, uint32_t subgroupSize, int full, int statistics, uint32_t specCount, const uint32_t *spec, uint32_t broadcasts, void **out);
uint32_t shim_statistics(void *device, void *pipeline, shim_statistic *out, uint32_t room);
void shim_record(void *commandBuffer, const shim_op *ops, uint32_t n, int last);
int shim_submit(void *queue, void *commandBuffer, void *fence);
int shim_wait(void *device, void *fence, uint64_t nanoseconds);
#endif
