from unfold.sites import UnfoldAdminSite


class BackOfficeSite(UnfoldAdminSite):
    pass


def environment_badge(request):
    return None


def navigation(request):
    return []
