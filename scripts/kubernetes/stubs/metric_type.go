package scalers

import "k8s.io/api/autoscaling/v2"

// externalMetricType is what every scaler uses. KEDA defines it in one that is left out.
var externalMetricType = v2.ExternalMetricSourceType
