// Runs the controllers of Deployments, ReplicaSets and HPAs, as Kubernetes has them, for an API server
// that speaks plain HTTP and JSON. kube-controller-manager starts them in the same way, but consists of
// 370 more packages.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	_ "k8s.io/kubernetes/pkg/features" // registers the feature gates
	resource "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"k8s.io/metrics/pkg/client/external_metrics"
)

// The defaults of kube-controller-manager.
const (
	workers            = 5
	replicaBurst       = 500
	downscaleWindow    = 5 * time.Minute
	tolerance          = 0.1
	cpuInitialization  = 5 * time.Minute
	initialReadiness   = 30 * time.Second
	rediscovery        = 30 * time.Second
	informerResync     = 12 * time.Hour
	requestsPerSecond  = 200
	burstOfRequests    = 400
	defaultSyncSeconds = 15
)

func main() {
	server := flag.String("server", "", "URL of the API server")
	sync := flag.Duration("sync", defaultSyncSeconds*time.Second, "interval of the HPA controller")
	klog.InitFlags(nil)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *server, *sync); err != nil {
		klog.Fatal(err)
	}
}

func run(ctx context.Context, server string, sync time.Duration) error {
	config := &rest.Config{Host: server, QPS: requestsPerSecond, Burst: burstOfRequests}
	config.ContentType = "application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	shared := informers.NewSharedInformerFactory(client, informerResync)
	apps, pods := shared.Apps().V1(), shared.Core().V1().Pods()
	deployments, err := deployment.NewDeploymentController(
		ctx, apps.Deployments(), apps.ReplicaSets(), pods, client)
	if err != nil {
		return err
	}
	replicaSets := replicaset.NewReplicaSetController(ctx, apps.ReplicaSets(), pods, client, replicaBurst)

	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	scales, err := scale.NewForConfig(config, mapper, dynamic.LegacyAPIPathResolverFunc,
		scale.NewDiscoveryScaleKindResolver(client.Discovery()))
	if err != nil {
		return err
	}
	fromResources, err := resource.NewForConfig(config)
	if err != nil {
		return err
	}
	external, err := external_metrics.NewForConfig(config)
	if err != nil {
		return err
	}
	available := custom_metrics.NewAvailableAPIsGetter(client.Discovery())
	custom := custom_metrics.NewForConfig(config, mapper, available)
	hpas := podautoscaler.NewHorizontalController(
		ctx, client.CoreV1(), scales, client.AutoscalingV2(), mapper,
		metrics.NewRESTMetricsClient(fromResources, custom, external),
		shared.Autoscaling().V2().HorizontalPodAutoscalers(), pods,
		sync, downscaleWindow, tolerance, cpuInitialization, initialReadiness)

	shared.Start(ctx.Done())
	go wait.Until(mapper.Reset, rediscovery, ctx.Done())
	go custom_metrics.PeriodicallyInvalidate(available, sync, ctx.Done())
	go deployments.Run(ctx, workers)
	go replicaSets.Run(ctx, workers)
	go hpas.Run(ctx, workers)
	<-ctx.Done()
	return nil
}
